-- The statements of an embedded journal. `states` is a text with a space around each state.

-- ------------------------------------------------------------------------------------ the run

-- name: header
select name, value from run

-- name: note
insert or replace into run values (:name, :value)

-- name: note_new
insert or ignore into run values (:name, :value)

-- name: plan
-- positions instead of names: a plan may have a million rows
insert or ignore into item (ordinal, source_id, key, location, ids, body, raw, total, currency, place, state, reason,
  digest) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: plan_again
update item
  set state = 'planned', reason = null, failures = 0, document = null,
      possible = case when state = 'deleted' then 0 else possible end
  where (instr(:states, ' ' || state || ' ') > 0 or state = 'unknown' and failures > 0) and body is not null

-- name: withdraw_planned
update item set state = 'withdrawn' where state = 'planned'

-- name: rolled_back
update item set state = 'deleted', document = coalesce(:document, document), reason = 'rolled back'
  where ordinal = :ordinal and key is not null and state != 'deleted'

-- name: correct_sent
-- A time that is still to come was written before the clock was set back. As "now", a wait that counts from it takes
-- as long as it would have, and no longer.
update item set sent_at = :now where sent_at > :now

-- name: correct_first_sent
update item set first_sent = sent_at where first_sent > sent_at

-- name: correct_ambiguous
update lane set ambiguous_at = :now where ambiguous_at > :now

-- name: correct_swept
-- a sweep that began in the future would make a later one seem done
update lane set swept_at = null where swept_at > :now

-- ------------------------------------------------------------------------------------ reading

-- name: rows
select ordinal, source_id, key, location, state, total, currency, place, document, reason, raw, attempt, possible,
       failures, first_sent, sent_at, ids, digest, case when :bodies then body end
  from item where instr(:states, ' ' || state || ' ') > 0 and ordinal > :after order by ordinal limit :limit

-- name: known_items
select key, ordinal, document, state, possible, first_sent, sent_at
  from item where location = :location and key is not null

-- name: locations
select location from item where key is not null group by location order by min(ordinal)

-- name: counts
select state, count(*) from item group by state

-- name: sums
select state, currency, total, count(*) from item where total is not null group by 1, 2, 3

-- name: lane_counts
select location, state, count(*) from item where key is not null group by location, state order by min(ordinal)

-- name: unswept
select location from lane where ambiguous_at > coalesce(swept_at, 0) order by location

-- name: deletions
select id, location, document, key, reason, at, outcome, ended_at
  from deletion where id > :after order by id limit :limit

-- ------------------------------------------------------------------------------------ deletions

-- name: deletion_intent
insert into deletion (location, document, key, reason, at) values (:location, :document, :key, :reason, :at)

-- name: deletion_result
update deletion set outcome = :outcome, ended_at = :at where id = :deletion

-- ------------------------------------------------------------------------------------ a lane

-- name: lane_facts
select (select count(*) from item where location = :location and state = 'planned'),
       (select count(*) from item where location = :location and state = 'sent'),
       (select max(sent_at) from item where location = :location and state = 'sent'),
       coalesce((select proven from lane where location = :location), 0),
       (select swept_at from lane where location = :location),
       (select ambiguous_at from lane where location = :location)

-- name: take
select ordinal, key, ids, body, attempt, location, digest from item
  where location = :location and state = 'planned' and ordinal > :after order by ordinal limit :limit

-- name: ambiguous
select ordinal, key, attempt, sent_at, failures, reason from item where location = :location and state = 'sent'

-- name: controls
select key, document, coalesce(sent_at, 0) from item
  where location = :location and state = 'created' and document is not null and coalesce(sent_at, 0) >= :since
  order by sent_at desc, ordinal desc limit :limit

-- name: note_ambiguous
insert into lane (location, ambiguous_at) values (:location, :at)
  on conflict (location) do update set ambiguous_at = max(coalesce(ambiguous_at, 0), excluded.ambiguous_at)

-- name: note_swept
insert into lane (location, swept_at) values (:location, :at)
  on conflict (location) do update set swept_at = max(coalesce(swept_at, 0), excluded.swept_at)

-- name: note_proven
insert into lane (location, proven) values (:location, 1) on conflict (location) do update set proven = 1

-- ------------------------------------------------------------------------------------ an item
-- Each change names the state and the number of requests that it expects.

-- name: intend
-- A sent item's next request belongs to a call that repeats only what was provably not executed.
update item
  set possible = possible + (state = 'planned'), state = 'sent', attempt = attempt + 1, sent_at = :at,
      first_sent = coalesce(first_sent, :at), ambiguous = 1, reason = null
  where ordinal = :ordinal and attempt = :attempt and state in ('planned', 'sent')

-- name: created
update item set state = 'created', document = :document, reason = null, ambiguous = 0
  where ordinal = :ordinal and attempt = :attempt and state = 'sent'

-- name: rejected
update item
  set possible = possible - (state = 'sent'), state = 'rejected', reason = :reason, ambiguous = 0
  where ordinal = :ordinal and attempt = :attempt and state in ('planned', 'sent')

-- name: unanswered
update item set reason = :words where ordinal = :ordinal and attempt = :attempt and state = 'sent'

-- name: planned
update item
  set state = 'planned', ambiguous = 0, failures = failures + (:listed and reason is not null),
      possible = possible - (:listed = 0)
  where ordinal = :ordinal and attempt = :attempt and state = 'sent'

-- name: unknown
update item set state = 'unknown', reason = :reason, ambiguous = 0
  where ordinal = :ordinal and attempt = :attempt and state = 'sent'

-- name: adopt
update item
  set state = 'created', document = :document, reason = null, ambiguous = 0, possible = max(possible, 1)
  where ordinal = :ordinal and state in ('rejected', 'unknown', 'planned') and key is not null
