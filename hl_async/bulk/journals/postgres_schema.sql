-- The tables of journals in Postgres. Each statement takes them one version further.

-- name: runs
create table hl_async.run (
  id bigint generated always as identity primary key,
  name text not null unique,
  made timestamptz not null default now(),
  -- null while only its own process works on it
  dispatched timestamptz,
  -- of which server's locations it is
  server text not null default '',
  settle float8 not null default 150,
  attempt_timeout float8 not null default 30
);
create table hl_async.run_fact (
  run bigint not null references hl_async.run on delete cascade,
  name text not null,
  value text not null,
  primary key (run, name)
);
create table hl_async.item (
  run bigint not null references hl_async.run on delete cascade,
  ordinal bigint not null,
  source_id text not null,
  key text,
  location text not null,
  ids text not null,
  body bytea,
  raw bytea,
  total text,
  currency text not null,
  place text not null,
  state text not null,
  attempt integer not null default 0,
  sent_at float8,
  document text,
  reason text,
  primary key (run, ordinal)
);
create index item_by_state on hl_async.item (run, location, state, ordinal);
create unique index item_by_key on hl_async.item (run, location, key);
create table hl_async.lane (
  run bigint not null references hl_async.run on delete cascade,
  location text not null,
  -- who has it: the number that changes hands with it, how often it was leased, until when, by whom
  epoch bigint not null default 0,
  turns bigint not null default 0,
  until timestamptz not null default '-infinity',
  holder text not null default '',
  rate float8 not null default 0,
  -- when it goes on: not at all, not before, not until a person looked
  done boolean not null default false,
  wake_at timestamptz not null default '-infinity',
  stopped boolean not null default false,
  reason text not null default '',
  -- the last epoch that was given to the engine, and when
  submitted bigint not null default -1,
  submitted_at timestamptz not null default '-infinity',
  -- what the protocol remembers; times of day in seconds
  proven boolean not null default false,
  swept_at float8,
  ambiguous_at float8,
  primary key (run, location)
);
create index lane_open on hl_async.lane (run) where not done;
create table hl_async.worker (
  name text primary key,
  seen timestamptz not null,
  lanes integer not null default 0,
  draining boolean not null default false
);

-- name: evidence
alter table hl_async.item
  add column digest bytea,
  add column first_sent float8,
  -- how many of its requests may have made a document
  add column possible integer not null default 0,
  -- how many of them a listing with its controls met found not executed
  add column failures integer not null default 0;
update hl_async.item set first_sent = sent_at, possible = attempt where attempt > 0;
alter table hl_async.lane
  -- leased, and not given back
  add column held boolean not null default false,
  -- an earlier holder may have sent items, and the location was not listed since
  add column resumed boolean not null default false,
  -- a holder did not give it back
  add column unclean boolean not null default false;
create table hl_async.deletion (
  id bigint generated always as identity primary key,
  run bigint not null references hl_async.run on delete cascade,
  location text not null,
  document text not null,
  key text not null,
  reason text not null,
  at timestamptz not null default clock_timestamp(),
  outcome text not null default '',
  ended_at timestamptz
);
create index deletion_by_run on hl_async.deletion (run, id);
