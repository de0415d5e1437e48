-- The tables of an embedded journal. Each statement takes them one version further.

-- name: runs
create table run (name text primary key, value text not null) without rowid;
create table item (
  ordinal integer primary key,
  source_id text not null,
  key text,
  location text not null,
  ids text not null default '[]',
  body blob,
  raw blob,
  total text,
  currency text not null default '',
  place text not null default '',
  state text not null,
  attempt integer not null default 0,
  sent_at real,
  ambiguous integer not null default 0,
  document text,
  reason text
);
create index item_by_state on item (location, state, ordinal);
create unique index item_by_key on item (location, key);
create table lane (
  location text primary key,
  proven integer not null default 0,
  swept_at real,
  ambiguous_at real
) without rowid;

-- name: evidence
alter table item add column digest blob;
alter table item add column first_sent real;
alter table item add column possible integer not null default 0;
alter table item add column failures integer not null default 0;
update item set first_sent = sent_at, possible = attempt where attempt > 0;
insert or ignore into run select 'sending', 'yes' where exists (select 1 from item where attempt > 0);
create table deletion (
  id integer primary key,
  location text not null,
  document text not null,
  key text not null,
  reason text not null,
  at real not null,
  outcome text not null default '',
  ended_at real
);
