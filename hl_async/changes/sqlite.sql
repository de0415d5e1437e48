-- The tables of a cursor file, and the statements on them.

-- name: tables
create table feed (name text primary key, state blob not null, holder text, until real) strict;
create table seen (
  feed text not null, id text not null, passed integer not null, row blob not null, primary key (feed, id)
) strict, without rowid;
create index unseen on seen (feed, passed, id);

-- name: lease
insert into feed values (:feed, x'', :holder, :now + :seconds) on conflict (name) do update
  set holder = excluded.holder, until = excluded.until
  where feed.holder is null or feed.holder = excluded.holder or feed.until <= :now

-- name: release
update feed set holder = null where name = :feed and holder = :holder

-- name: state
select state from feed where name = :feed

-- name: load
select id, row from seen where feed = :feed and id = :id

-- name: unseen
select id, row from seen where feed = :feed and passed < :before order by passed, id limit :limit

-- name: save_state
insert into feed values (:feed, :state, null, null) on conflict (name) do update set state = excluded.state

-- name: save_row
insert into seen values (:feed, :id, :passed, :row) on conflict (feed, id)
  do update set passed = excluded.passed, row = excluded.row

-- name: forget
delete from seen where feed = :feed and id = :id
