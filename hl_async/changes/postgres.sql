-- The tables of cursors in Postgres, and the statements on them.

-- name: tables
create table hl_async.feed (
  name text primary key, state bytea, holder text, until timestamptz
);
create table hl_async.seen (
  feed text not null, id text not null, passed bigint not null, row bytea not null, primary key (feed, id)
);
create index seen_passed on hl_async.seen (feed, passed, id);

-- name: lease
-- by the database's clock: those of the hosts may differ
insert into hl_async.feed values (:feed, null, :holder, clock_timestamp() + make_interval(secs => :seconds))
  on conflict (name) do update set holder = excluded.holder, until = excluded.until
  where feed.holder is null or feed.holder = excluded.holder or feed.until <= clock_timestamp()

-- name: release
update hl_async.feed set holder = null where name = :feed and holder = :holder

-- name: state
select state from hl_async.feed where name = :feed

-- name: load
select id, row from hl_async.seen where feed = :feed and id = any(:ids::text[])

-- name: unseen
select id, row from hl_async.seen where feed = :feed and passed < :before order by passed, id limit :limit

-- name: save_state
insert into hl_async.feed values (:feed, :state, null, null) on conflict (name) do update set state = excluded.state

-- name: save_rows
insert into hl_async.seen select :feed, u.id, u.passed, u.row
  from unnest(:ids::text[], :passed::bigint[], :rows::bytea[]) as u (id, passed, row)
  on conflict (feed, id) do update set passed = excluded.passed, row = excluded.row

-- name: forget
delete from hl_async.seen where feed = :feed and id = any(:ids::text[])
