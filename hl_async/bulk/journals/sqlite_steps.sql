-- The steps of the stages in an embedded journal. The tables are made when the first step is planned.

-- name: make_step
create table if not exists step (
  number integer primary key,
  stage text not null,
  location text not null,
  key text not null,
  state text not null default 'planned',
  attempt integer not null default 0,
  possible integer not null default 0,
  body blob not null,
  digest blob not null,
  facts blob not null,
  subject text not null default '',
  result text not null default '',
  how text not null default '',
  reason text,
  first_sent real,
  sent_at real
)

-- name: make_step_by_key
create unique index if not exists step_by_key on step (stage, location, key)

-- name: make_step_by_state
create index if not exists step_by_state on step (stage, location, state, number)

-- name: make_step_item
create table if not exists step_item (
  step integer not null,
  ordinal integer not null,
  primary key (step, ordinal)
) without rowid

-- name: make_stage_lane
create table if not exists stage_lane (
  stage text not null,
  location text not null,
  ambiguous_at real,
  swept_at real,
  primary key (stage, location)
) without rowid

-- name: has_steps
select 1 from sqlite_master where name = 'step'

-- ------------------------------------------------------------------------------------ planning

-- name: plan
insert into step (stage, location, key, body, digest, facts, subject)
  values (:stage, :location, :key, :body, :digest, :facts, :subject)
  on conflict (stage, location, key) do update
  set body = excluded.body, digest = excluded.digest, facts = excluded.facts
  where state = 'planned' and possible = 0

-- name: link
insert or ignore into step_item
  select number, :ordinal from step where stage = :stage and location = :location and key = :key

-- name: plan_linked
-- A step that is over and gets another document is planned again, so that the document learns of its result.
update step set state = 'planned'
  where stage = :stage and location = :location and key = :key and state in ('done', 'rejected')

-- name: plan_again
update step
  set possible = case when state = 'deleted' then 0 else possible end, state = 'planned', reason = null,
      result = '', how = ''
  where (:stage is null or stage = :stage) and instr(:states, ' ' || state || ' ') > 0

-- name: withdraw
update step set state = 'withdrawn' where stage = :stage and state = 'planned'

-- name: undone
update step set state = 'deleted', reason = :reason where number = :number and state != 'deleted'

-- name: correct_sent
update step set sent_at = :now where sent_at > :now

-- name: correct_first_sent
update step set first_sent = sent_at where first_sent > sent_at

-- name: correct_ambiguous
update stage_lane set ambiguous_at = :now where ambiguous_at > :now

-- name: correct_swept
update stage_lane set swept_at = null where swept_at > :now

-- ------------------------------------------------------------------------------------ reading

-- name: rows
select s.number, s.location, s.stage, s.key, s.state, s.attempt, s.possible, s.body, s.digest, s.facts, s.subject,
       s.result, s.how, s.reason, s.first_sent, s.sent_at, i.ordinal, i.document
  from step s left join item i on i.ordinal = (select min(ordinal) from step_item where step = s.number)
  where s.stage = :stage and s.number > :after and (:location is null or s.location = :location)
    and (:states = '' or instr(:states, ' ' || s.state || ' ') > 0)
  order by s.number limit :limit

-- name: take
select s.number, s.location, s.stage, s.key, s.state, s.attempt, s.possible, s.body, s.digest, s.facts, s.subject,
       s.result, s.how, s.reason, s.first_sent, s.sent_at, i.ordinal, i.document
  from step s left join item i on i.ordinal = (select min(ordinal) from step_item where step = s.number)
  where s.stage = :stage and s.location = :location and s.state = 'planned' and s.number > :after
    and (not :of_created or i.state = 'created' or s.subject != '')
  order by s.number limit :limit

-- name: ambiguous
select s.number, s.location, s.stage, s.key, s.state, s.attempt, s.possible, s.body, s.digest, s.facts, s.subject,
       s.result, s.how, s.reason, s.first_sent, s.sent_at, i.ordinal, i.document
  from step s left join item i on i.ordinal = (select min(ordinal) from step_item where step = s.number)
  where s.stage = :stage and s.location = :location and s.state = 'sent'
  order by s.number

-- name: suspects
select s.number, s.location, s.stage, s.key, s.state, s.attempt, s.possible, s.body, s.digest, s.facts, s.subject,
       s.result, s.how, s.reason, s.first_sent, s.sent_at, i.ordinal, i.document
  from step s left join item i on i.ordinal = (select min(ordinal) from step_item where step = s.number)
  where s.stage = :stage and s.location = :location and s.possible > (s.how = 'made')
  order by s.number

-- name: counts
select location, state, how, count(*) from step where stage = :stage group by 1, 2, 3 order by min(number)

-- name: stages
select stage from step group by stage order by min(number)

-- name: unfinished
select (select count(*) from step where state in ('planned', 'sent'))
  + (select count(*) from stage_lane where ambiguous_at > coalesce(swept_at, 0))

-- name: ordinals
select ordinal from step_item where step = :step order by ordinal

-- name: documents
select ordinal, body from item join step_item using (ordinal)
  where step = :step and state = 'planned' and body is not null order by ordinal

-- name: lane_facts
select count(*) filter (where state = 'planned'), count(*) filter (where state = 'sent'),
       max(sent_at) filter (where state = 'sent'),
       (select ambiguous_at from stage_lane where stage = :stage and location = :location),
       (select swept_at from stage_lane where stage = :stage and location = :location)
  from step where stage = :stage and location = :location

-- ------------------------------------------------------------------------------------ changing

-- name: change
update step
  set possible = possible + (:sent_at is not null and state = 'planned') - :refused, state = :state,
      attempt = attempt + (:sent_at is not null), sent_at = coalesce(:sent_at, sent_at),
      first_sent = coalesce(first_sent, :sent_at), result = coalesce(:result, result), how = coalesce(:how, how),
      reason = case when :state = 'done' or :sent_at is not null then :reason else coalesce(:reason, reason) end,
      subject = coalesce(:subject, subject), facts = coalesce(:facts, facts)
  where number = :number and state = :origin and attempt = :attempt

-- name: reject_document
update item set state = 'rejected', reason = :reason where ordinal = :ordinal and state = 'planned'

-- name: document_identity
select key, location, ids from item where ordinal = :ordinal and state = 'planned'

-- name: rewrite_document
update item set body = :body, digest = :digest where ordinal = :ordinal

-- name: note_ambiguous
insert into stage_lane (stage, location, ambiguous_at) values (:stage, :location, :at)
  on conflict (stage, location) do update set ambiguous_at = max(coalesce(ambiguous_at, 0), excluded.ambiguous_at)

-- name: note_swept
insert into stage_lane (stage, location, swept_at) values (:stage, :location, :at)
  on conflict (stage, location) do update set swept_at = max(coalesce(swept_at, 0), excluded.swept_at)
