"""`/healthz` and `/readyz`: alive is one thing, ready another, and what is ill is named."""


async def test_process_that_answers_is_healthy(client):
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_without_broker_it_is_not_ready_and_says_so(client):
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "Not ready: broker: is not connected."
    assert answer.json()["database"] == "ok"


async def test_without_database_it_is_not_ready_and_says_so(client, postgres, migrated_database, app):
    app.state.live_hub.connected = True
    assert (await client.get("/readyz")).json() == {"status": "ok", "database": "ok", "broker": "ok"}
    await app.state.database.close()
    with_other_name = migrated_database.web_url.replace(migrated_database.name, "nowhere")
    app.state.database.engine = type(app.state.database)(with_other_name).engine
    answer = await client.get("/readyz")
    assert answer.json()["detail"] == "Not ready: database: does not answer."
    assert (await client.get("/healthz")).status_code == 200
