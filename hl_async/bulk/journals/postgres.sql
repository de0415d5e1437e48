-- The statements of journals in Postgres. `states` is a text with a space around each state.
-- A process that lost its lane must change nothing: each change of a lane names the epoch of its lease.

-- ------------------------------------------------------------------------------------ runs

-- name: make_run
insert into hl_async.run (name) values (:name) on conflict (name) do update set name = excluded.name returning id

-- name: find_run
select id from hl_async.run where name = :name

-- name: remove_run
delete from hl_async.run where name = :name

-- name: lock_names
select name from hl_async.run where starts_with(name, :name) for update

-- name: rename_run
update hl_async.run set name = :new where name = :name

-- name: pause_run
update hl_async.run set dispatched = null where id = :run

-- name: holders
select distinct holder from hl_async.lane where run = :run and until > clock_timestamp() order by holder

-- ------------------------------------------------------------------------------------ the run

-- name: header
select name, value from hl_async.run_fact where run = :run

-- name: note
insert into hl_async.run_fact values (:run, :name, :value)
  on conflict (run, name) do update set value = excluded.value

-- name: note_new
insert into hl_async.run_fact values (:run, :name, :value) on conflict do nothing

-- name: plan
insert into hl_async.item (run, ordinal, source_id, key, location, ids, body, raw, total, currency, place, state, reason,
  digest)
  select :run, * from unnest(:ordinal::int8[], :source_id::text[], :key::text[], :location::text[], :ids::text[],
    :body::bytea[], :raw::bytea[], :total::text[], :currency::text[], :place::text[], :state::text[], :reason::text[],
    :digest::bytea[])
  on conflict (run, ordinal) do nothing

-- name: open_lanes
insert into hl_async.lane (run, location) select :run, * from unnest(:locations::text[])
  on conflict (run, location) do update set done = false

-- name: plan_again
with again as (
  update hl_async.item
    set state = 'planned', reason = null, failures = 0, document = null,
        possible = case when state = 'deleted' then 0 else possible end
    where run = :run and (state = any(string_to_array(:states, ' ')) or state = 'unknown' and failures > 0)
      and body is not null
    returning location
), open as (
  update hl_async.lane l set done = false where l.run = :run and l.location in (select location from again)
)
select 1 from again

-- name: withdraw_planned
update hl_async.item set state = 'withdrawn' where run = :run and state = 'planned'

-- name: rolled_back
update hl_async.item set state = 'deleted', document = coalesce(:document, document), reason = 'rolled back'
  where run = :run and ordinal = :ordinal and key is not null and state <> 'deleted'

-- ------------------------------------------------------------------------------------ reading

-- name: rows
select ordinal, source_id, key, location, state, total, currency, place, document, reason, raw, attempt, possible,
       failures, first_sent, sent_at, ids, digest, case when :bodies::boolean then body end
  from hl_async.item
  where run = :run and state = any(string_to_array(:states, ' ')) and ordinal > :after
  order by ordinal limit nullif(:limit::int8, -1)

-- name: known_items
select key, ordinal, document, state, possible, first_sent, sent_at
  from hl_async.item where run = :run and location = :location and key is not null

-- name: locations
select location from hl_async.item where run = :run and key is not null group by location order by min(ordinal)

-- name: counts
select state, count(*) from hl_async.item where run = :run group by state

-- name: sums
select state, currency, total, count(*) from hl_async.item where run = :run and total is not null group by 1, 2, 3

-- name: lane_counts
select location, state, count(*) from hl_async.item
  where run = :run and key is not null group by location, state order by min(ordinal)

-- name: lanes
select location, rate, holder, until > clock_timestamp() as held, reason, done,
       case when wake_at > clock_timestamp() then extract(epoch from wake_at - clock_timestamp())::float8 else 0 end
         as wakes_in
  from hl_async.lane where run = :run

-- name: unswept
select location from hl_async.lane where run = :run and ambiguous_at > coalesce(swept_at, 0) order by location

-- name: deletions
select id, location, document, key, reason, extract(epoch from at)::float8, outcome,
       extract(epoch from ended_at)::float8
  from hl_async.deletion where run = :run and id > :after order by id limit :limit

-- ------------------------------------------------------------------------------------ deletions

-- name: deletion_intent
insert into hl_async.deletion (run, location, document, key, reason)
  values (:run, :location, :document, :key, :reason) returning id

-- name: deletion_intent_of_lane
insert into hl_async.deletion (run, location, document, key, reason)
  select :run, :location, :document, :key, :reason
  where exists (select 1 from hl_async.lane
    where run = :run and location = :location and epoch = :epoch and until > clock_timestamp())
  returning id

-- name: deletion_result
update hl_async.deletion set outcome = :outcome, ended_at = clock_timestamp() where run = :run and id = :deletion

-- ------------------------------------------------------------------------------------ leases

-- name: lease
-- A lane that is still marked as held was not given back: its last holder may have sent items that it did not settle.
update hl_async.lane
  set epoch = epoch + 1, turns = turns + 1, holder = :holder, reason = '', rate = 0,
      until = clock_timestamp() + make_interval(secs => :seconds),
      resumed = resumed or held, unclean = unclean or held, held = true
  where run = :run and location = :location and until <= clock_timestamp() and epoch = coalesce(:epoch::int8, epoch)
    and coalesce((select value from hl_async.run_fact where run = :run and name = 'state'), 'running') = :state
  returning epoch, extract(epoch from clock_timestamp())::float8

-- name: renew
update hl_async.lane set until = clock_timestamp() + make_interval(secs => :seconds), rate = :rate
  where run = :run and location = :location and epoch = :epoch and until > clock_timestamp()
  returning extract(epoch from clock_timestamp())::float8

-- name: release
update hl_async.lane
  set until = clock_timestamp(), holder = '', held = false, rate = 0, done = :done, stopped = :stopped,
      wake_at = clock_timestamp() + make_interval(secs => :wake_in), reason = :reason
  where run = :run and location = :location and epoch = :epoch

-- ------------------------------------------------------------------------------------ a lane

-- name: lane_facts
select (select count(*) from hl_async.item where run = :run and location = :location and state = 'planned'),
       (select count(*) from hl_async.item where run = :run and location = :location and state = 'sent'),
       (select max(sent_at) from hl_async.item where run = :run and location = :location and state = 'sent'),
       proven, swept_at, ambiguous_at, resumed, unclean
  from hl_async.lane where run = :run and location = :location

-- name: take
select ordinal, key, ids, body, attempt, location, digest from hl_async.item
  where run = :run and location = :location and state = 'planned' and ordinal > :after order by ordinal limit :limit

-- name: ambiguous
select ordinal, key, attempt, sent_at, failures, reason from hl_async.item
  where run = :run and location = :location and state = 'sent'

-- name: controls
select key, document, coalesce(sent_at, 0) from hl_async.item
  where run = :run and location = :location and state = 'created' and document is not null
    and coalesce(sent_at, 0) >= :since
  order by sent_at desc nulls last, ordinal desc limit :limit

-- name: note_ambiguous
update hl_async.lane set ambiguous_at = greatest(ambiguous_at, :at)
  where run = :run and location = :location and epoch = :epoch and until > clock_timestamp()

-- name: note_swept
update hl_async.lane set swept_at = greatest(swept_at, :at)
  where run = :run and location = :location and epoch = :epoch and until > clock_timestamp()

-- name: note_proven
update hl_async.lane set proven = true
  where run = :run and location = :location and epoch = :epoch and until > clock_timestamp()

-- name: note_listed
update hl_async.lane set resumed = false, unclean = false
  where run = :run and location = :location and epoch = :epoch and until > clock_timestamp()

-- ------------------------------------------------------------------------------------ an item

-- name: change_items
-- A request may have made a document from the intent on, unless its answer says that it was refused. The next
-- request of an item that is sent belongs to a call that repeats only what was provably not executed.
with c as (
  select * from unnest(:number::int4[], :location::text[], :epoch::int8[], :ordinal::int8[], :attempt::int4[],
      :origin::text[], :state::text[], :sent_at::float8[], :document::text[], :reason::text[], :listed::bool[])
    as c (n, location, epoch, ordinal, attempt, origin, state, sent_at, document, reason, listed)
), mine as (
  select c.n from c join hl_async.lane l
    on l.run = :run and l.location = c.location and l.epoch = c.epoch and l.until > clock_timestamp()
), done as (
  update hl_async.item i
    set state = c.state, attempt = i.attempt + (c.sent_at is not null)::int4, sent_at = coalesce(c.sent_at, i.sent_at),
        first_sent = coalesce(i.first_sent, c.sent_at),
        failures = i.failures + (c.listed and i.reason is not null)::int4,
        possible = i.possible + (c.state = 'sent' and i.state = 'planned')::int4
          - (i.state = 'sent' and (c.state = 'rejected' or c.state = 'planned' and not c.listed))::int4,
        document = coalesce(c.document, i.document),
        reason = case when c.state = 'created' or c.sent_at is not null then null else coalesce(c.reason, i.reason) end
    from c join mine using (n)
    where i.run = :run and i.ordinal = c.ordinal and i.attempt = c.attempt and position(i.state in c.origin) > 0
    returning c.n
)
select n, n in (select n from done) as done from mine

-- name: adopt
with mine as (
  select 1 from hl_async.lane
    where run = :run and location = :location and epoch = :epoch and until > clock_timestamp()
), done as (
  update hl_async.item
    set state = 'created', document = :document, reason = null, possible = greatest(possible, 1)
    where run = :run and ordinal = :ordinal and key is not null and state in ('rejected', 'unknown', 'planned')
      and exists (select 1 from mine)
    returning 1
)
select exists (select 1 from mine), exists (select 1 from done)
