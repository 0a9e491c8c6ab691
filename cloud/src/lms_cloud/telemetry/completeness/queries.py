"""The statements of completeness. What they read is small: tallies, streams, and single ledger rows by their key."""

from typing import Final

from sqlalchemy import text

STREAMS = text("""
select s.id, s.agent_id, s.head, a.stream = s.id as current, coalesce(a.online, false) as online,
    array(select lower(r) from unnest(s.committed) r order by 1) as firsts,
    array(select upper(r) - 1 from unnest(s.committed) r order by 1) as lasts
from streams s left join agent_status a on a.agent_id = s.agent_id
where s.agent_id = any(:agents) order by s.created_at, s.id
""")
DEAD = text("select stream, number from ledger where dead and stream = any(:streams) order by stream, number")
TIMES = text("""
select w.place, earlier.at as after, later.at as before
from unnest(cast(:places as integer[]), cast(:streams as uuid[]), cast(:firsts as bigint[]), cast(:lasts as bigint[]))
    as w (place, stream, first, last)
left join lateral (
    select last_taken_at as at from ledger l
    where l.stream = w.stream and l.number < w.first and l.last_taken_at is not null order by l.number desc limit 1
) earlier on true
left join lateral (
    select first_taken_at as at from ledger l
    where l.stream = w.stream and l.number > w.last and l.first_taken_at is not null order by l.number limit 1
) later on true
order by w.place
""")
_TALLIES: Final = """
select date_trunc(:unit, hour, 'UTC') as start, sum(batches)::bigint as batches, sum(late)::bigint as late,
    sum(readings)::bigint as readings
from ledger_hours where hour >= :start and hour < :end
"""
OF_STREAMS = text(_TALLIES + " and stream = any(:streams) group by 1")
OF_BIOREACTOR = text(_TALLIES + " and bioreactor_id = :bioreactor group by 1")
_GAPS: Final = """
select bioreactor_id, began_at, ended_at, reason, cardinality(series) as tags from gaps
where began_at < :end and (ended_at is null or ended_at > :start)
"""
GAPS_OF_STREAMS = text(_GAPS + " and stream = any(:streams) order by began_at, gap")
GAPS_OF_BIOREACTOR = text(_GAPS + " and bioreactor_id = :bioreactor order by began_at, gap")
AGENTS_OF = text("""
select distinct agent_id from (
    select s.agent_id from (select distinct stream from ledger_hours where bioreactor_id = :bioreactor) h
    join streams s on s.id = h.stream
    union all select agent_id from feeds where bioreactor_id = :bioreactor and agent_id is not null
) found
""")
SERVED = text("select agent_id, count(*) as bioreactors from feeds where agent_id = any(:agents) group by agent_id")
AGENTS = text("""
select a.id, e.name, coalesce(t.online, false) as online, t.since, t.agent_id is not null as heard,
    exists (select from streams s where s.agent_id = a.id) as numbers,
    not e.is_active or coalesce(b.properties ->> 'agent_id' <> cast(a.id as text), false) as replaced,
    known.until
from unnest(cast(:agents as uuid[])) as a (id)
join entities e on e.id = a.id
left join entities b on b.id = :bioreactor
left join agent_status t on t.agent_id = a.id
left join lateral (
    select max(greatest(s.head_at, newest.at)) as until from streams s
    left join lateral (
        select least(last_taken_at, committed_at) as at from ledger l
        where l.stream = s.id and last_taken_at is not null order by number desc limit 1
    ) newest on true
    where s.agent_id = a.id and (t.stream is null or s.id = t.stream)
) known on true
order by e.name, a.id
""")
"""How far is known what agents logged. Without a bioreactor `replaced` says only whether the agent is retired."""
TAKEN_OVER = text("""
with hours as (
    select s.agent_id, h.hour from ledger_hours h join streams s on s.id = h.stream where h.bioreactor_id = :bioreactor
), last as (
    select agent_id, max(hour) as hour from hours where agent_id = any(:agents) group by agent_id
)
select last.agent_id, min(later.hour) as hour from last
join hours later on later.agent_id <> last.agent_id and later.hour > last.hour group by last.agent_id
""")
"""The first hour after an agent's last of a bioreactor in which another agent read it."""
LEFT_OFF = text("""
with logs as (
    select s.id, s.agent_id, lead(s.id) over w as next_id, lead(s.created_at) over w as next_at,
        greatest(s.head_at, newest.at) as until
    from streams s
    left join lateral (
        select least(last_taken_at, committed_at) as at from ledger l
        where l.stream = s.id and last_taken_at is not null order by number desc limit 1
    ) newest on true
    where s.agent_id = any(:agents) window w as (partition by s.agent_id order by s.created_at, s.id)
)
select agent_id, until, coalesce(first.at, next_at) as begun,
    array(select began_at from gaps g where g.stream = next_id and g.ended_at is not null
        and starts_with(g.reason, :not_running) order by gap) as gaps_from,
    array(select ended_at from gaps g where g.stream = next_id and g.ended_at is not null
        and starts_with(g.reason, :not_running) order by gap) as gaps_to
from logs left join lateral (
    select first_taken_at as at from ledger l
    where l.stream = next_id and first_taken_at > until order by number limit 1
) first on true
where next_id is not null and coalesce(first.at, next_at) > until order by until
""")
"""Between what is known of a log and the first reading of the one that followed it; and when the agent did not run."""
