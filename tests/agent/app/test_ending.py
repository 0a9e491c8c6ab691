"""A swallowed cancellation keeps no part of agent or cloud alive. They share no code, so each has its own `end`."""

import asyncio
import gc

import pytest
from lms_agent.ending import end as agent_end
from lms_cloud.kernel.ending import end as cloud_end
from support.patience import awaiting

both = pytest.mark.parametrize("end", [agent_end, cloud_end])


@both
async def test_task_that_swallows_a_cancellation_is_ended_all_the_same(end):
    asked = 0

    async def stubborn():
        nonlocal asked
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                asked += 1
                if asked == 2:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with awaiting("the task ends"):
        await end((task,))
    assert task.cancelled()


@both
async def test_tasks_that_failed_or_ended_are_left_as_they_are(end):
    async def fail():
        raise ValueError

    async def succeed():
        return 5

    failed, done = asyncio.create_task(fail()), asyncio.create_task(succeed())
    await asyncio.wait((failed, done))
    await end((failed, done))
    assert isinstance(failed.exception(), ValueError)
    assert done.result() == 5


@both
async def test_error_of_an_ended_task_that_nobody_asks_for_is_no_complaint(end):
    """Hearing and talking both fail when a connection breaks, in the same moment or one after the other."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))

    async def fail():
        raise ValueError

    async def fail_at_the_end():
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError

    tasks = [asyncio.create_task(fail()), asyncio.create_task(fail_at_the_end())]
    await asyncio.wait((tasks[0],))
    await end(tasks)
    tasks.clear()
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
