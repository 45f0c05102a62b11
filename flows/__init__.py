"""WHEN: Prefect flows over the stages that dvc.yaml owns."""

from pathlib import Path

from flows.server.one_line import shorten_errors
from tasks.common.environment import prepare
from tasks.common.telemetry import switch_off
from tasks.common.user import set_user_name
from tasks.stores.prefect_server import name_database

prepare()
switch_off()
set_user_name()
name_database()
shorten_errors()
# prefect.toml puts Prefect's home below var/, and Prefect makes only the last folder of that path
Path("var").mkdir(exist_ok=True)
