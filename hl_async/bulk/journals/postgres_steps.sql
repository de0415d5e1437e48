-- The steps of the stages in Postgres, under the lease of their lane.

-- name: tables
create table hl_async.step (
  number bigint generated always as identity primary key,
  run bigint not null references hl_async.run on delete cascade,
  stage text not null,
  location text not null,
  key text not null,
  state text not null default 'planned',
  attempt integer not null default 0,
  possible integer not null default 0,
  body bytea not null,
  digest bytea not null,
  facts bytea not null,
  subject text not null default '',
  result text not null default '',
  how text not null default '',
  reason text,
  first_sent float8,
  sent_at float8,
  unique (run, stage, location, key)
);
create index step_by_state on hl_async.step (run, stage, location, state, number);
create table hl_async.step_item (
  step bigint not null references hl_async.step on delete cascade,
  ordinal bigint not null,
  primary key (step, ordinal)
);
create table hl_async.stage_lane (
  run bigint not null references hl_async.run on delete cascade,
  stage text not null,
  location text not null,
  ambiguous_at float8,
  swept_at float8,
  primary key (run, stage, location)
);

-- name: has_steps
select to_regclass('hl_async.step') is not null

-- ------------------------------------------------------------------------------------ planning

-- name: plan
insert into hl_async.step (run, stage, location, key, body, digest, facts, subject)
  values (:run, :stage, :location, :key, :body, :digest, :facts, :subject)
  on conflict (run, stage, location, key) do update
  set body = excluded.body, digest = excluded.digest, facts = excluded.facts
  where step.state = 'planned' and step.possible = 0

-- name: link
insert into hl_async.step_item
  select number, unnest(:ordinals::int8[]) from hl_async.step
  where run = :run and stage = :stage and location = :location and key = :key
  on conflict do nothing

-- name: plan_linked
-- A step that is over and gets another document is planned again, so that the document learns of its result.
update hl_async.step set state = 'planned'
  where run = :run and stage = :stage and location = :location and key = :key and state in ('done', 'rejected')

-- name: open_lanes
insert into hl_async.lane (run, location) select :run, * from unnest(:locations::text[])
  on conflict (run, location) do update set done = false

-- name: plan_again
with again as (
  update hl_async.step
    set possible = case when state = 'deleted' then 0 else possible end, state = 'planned', reason = null,
        result = '', how = ''
    where run = :run and (:stage::text is null or stage = :stage)
      and state = any(string_to_array(:states, ' '))
    returning location
), open as (
  update hl_async.lane l set done = false where l.run = :run and l.location in (select location from again)
)
select 1 from again

-- name: withdraw
update hl_async.step set state = 'withdrawn' where run = :run and stage = :stage and state = 'planned'

-- name: undone
update hl_async.step set state = 'deleted', reason = :reason
  where run = :run and number = :number and state <> 'deleted'

-- ------------------------------------------------------------------------------------ reading

-- name: rows
select s.number, s.location, s.stage, s.key, s.state, s.attempt, s.possible, s.body, s.digest, s.facts, s.subject,
       s.result, s.how, s.reason, s.first_sent, s.sent_at, i.ordinal, i.document
  from hl_async.step s left join hl_async.item i
    on i.run = s.run and i.ordinal = (select min(ordinal) from hl_async.step_item where step = s.number)
  where s.run = :run and s.stage = :stage
    and s.number > :after and (:location::text is null or s.location = :location)
    and (:states = '' or s.state = any(string_to_array(:states, ' ')))
  order by s.number limit :limit

-- name: take
select s.number, s.location, s.stage, s.key, s.state, s.attempt, s.possible, s.body, s.digest, s.facts, s.subject,
       s.result, s.how, s.reason, s.first_sent, s.sent_at, i.ordinal, i.document
  from hl_async.step s left join hl_async.item i
    on i.run = s.run and i.ordinal = (select min(ordinal) from hl_async.step_item where step = s.number)
  where s.run = :run and s.stage = :stage and s.location = :location
    and s.state = 'planned' and s.number > :after
    and (not :of_created::boolean or i.state = 'created' or s.subject <> '')
  order by s.number limit :limit

-- name: ambiguous
select s.number, s.location, s.stage, s.key, s.state, s.attempt, s.possible, s.body, s.digest, s.facts, s.subject,
       s.result, s.how, s.reason, s.first_sent, s.sent_at, i.ordinal, i.document
  from hl_async.step s left join hl_async.item i
    on i.run = s.run and i.ordinal = (select min(ordinal) from hl_async.step_item where step = s.number)
  where s.run = :run and s.stage = :stage and s.location = :location
    and s.state = 'sent'
  order by s.number

-- name: suspects
select s.number, s.location, s.stage, s.key, s.state, s.attempt, s.possible, s.body, s.digest, s.facts, s.subject,
       s.result, s.how, s.reason, s.first_sent, s.sent_at, i.ordinal, i.document
  from hl_async.step s left join hl_async.item i
    on i.run = s.run and i.ordinal = (select min(ordinal) from hl_async.step_item where step = s.number)
  where s.run = :run and s.stage = :stage and s.location = :location
    and s.possible > (s.how = 'made')::int4
  order by s.number

-- name: counts
select location, state, how, count(*) from hl_async.step where run = :run and stage = :stage
  group by 1, 2, 3 order by min(number)

-- name: stages
select stage from hl_async.step where run = :run group by stage order by min(number)

-- name: unfinished
select (select count(*) from hl_async.step where run = :run and state in ('planned', 'sent'))
  + (select count(*) from hl_async.stage_lane where run = :run and ambiguous_at > coalesce(swept_at, 0))

-- name: ordinals
select ordinal from hl_async.step_item join hl_async.step on number = step
  where run = :run and step = :step order by ordinal

-- name: documents
select i.ordinal, i.body from hl_async.item i join hl_async.step_item t using (ordinal)
  where i.run = :run and t.step = :step and i.state = 'planned' and i.body is not null order by i.ordinal

-- name: lane_facts
select count(*) filter (where state = 'planned'), count(*) filter (where state = 'sent'),
       max(sent_at) filter (where state = 'sent'),
       (select ambiguous_at from hl_async.stage_lane where run = :run and stage = :stage and location = :location),
       (select swept_at from hl_async.stage_lane where run = :run and stage = :stage and location = :location)
  from hl_async.step where run = :run and stage = :stage and location = :location

-- ------------------------------------------------------------------------------------ changing

-- name: mine
-- The lock on the lane's row keeps the lease until the transaction ends.
select 1 from hl_async.lane
  where run = :run and location = :location and epoch = :epoch and until > clock_timestamp() for share

-- name: change
update hl_async.step
  set possible = possible + (:sent_at::float8 is not null and state = 'planned')::int4 - :refused::int4,
      state = :state, attempt = attempt + (:sent_at::float8 is not null)::int4,
      sent_at = coalesce(:sent_at, sent_at), first_sent = coalesce(first_sent, :sent_at),
      result = coalesce(:result, result), how = coalesce(:how, how),
      reason = case when :state = 'done' or :sent_at::float8 is not null then :reason
               else coalesce(:reason, reason) end,
      subject = coalesce(:subject, subject), facts = coalesce(:facts, facts)
  where number = :number and state = :origin and attempt = :attempt

-- name: reject_document
update hl_async.item set state = 'rejected', reason = :reason
  where run = :run and ordinal = :ordinal and state = 'planned'

-- name: document_identity
select key, location, ids from hl_async.item
  where run = :run and ordinal = :ordinal and state = 'planned' for update

-- name: rewrite_document
update hl_async.item set body = :body, digest = :digest where run = :run and ordinal = :ordinal

-- name: note_ambiguous
insert into hl_async.stage_lane (run, stage, location, ambiguous_at)
  select :run, :stage, :location, :at
  where exists (select 1 from hl_async.lane
    where run = :run and location = :location and epoch = :epoch and until > clock_timestamp())
  on conflict (run, stage, location)
  do update set ambiguous_at = greatest(stage_lane.ambiguous_at, excluded.ambiguous_at)
  returning 1

-- name: note_swept
insert into hl_async.stage_lane (run, stage, location, swept_at)
  select :run, :stage, :location, :at
  where exists (select 1 from hl_async.lane
    where run = :run and location = :location and epoch = :epoch and until > clock_timestamp())
  on conflict (run, stage, location)
  do update set swept_at = greatest(stage_lane.swept_at, excluded.swept_at)
  returning 1
