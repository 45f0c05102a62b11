# People, hooks and CI call these targets and nothing else.
# Each target sets up what it needs first; where all is in place that takes a fraction of a second.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# a uv of our own when the machine has none that works; --target leaves the system's packages alone
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo var/uv/bin/uv)
RUN := $(UV) run --frozen --no-sync

# of pyproject.toml; with a GPU: make run EXTRAS="all gpu"
EXTRAS ?= all

# a run starts some forty processes; without compiled bytecode each of them would compile torch once more
unexport PYTHONDONTWRITEBYTECODE

# usage reports are off; tasks/common/telemetry.py does the same for code that is started without make
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export FIFTYONE_DO_NOT_TRACK := true
export HF_HUB_DISABLE_TELEMETRY := 1
export YOLO_OFFLINE := true
export DVC_NO_ANALYTICS := 1
export NNCF_CI := 1

.PHONY: help env run demo experiments programs test slow cluster fuzz gpu-check lint format serve up down ui deploy docs bench restore stop hooks

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

env:
	@mkdir -p var
	@$(UV) --version >/dev/null 2>&1 || python3 -m pip install --quiet --disable-pip-version-check --target var/uv uv
	@$(UV) sync --frozen --quiet $(addprefix --extra ,$(EXTRAS))

run: env ## data to a served answer: all stale stages, release, registry, promotion; a second run changes nothing
	@$(RUN) python -m flows.retrain

demo: env ## an answer within a minute: a release of the shipped weights alone, and its page at a terminal
	@$(RUN) python -m tasks.tools.demo

# columns of headline figures have a slash in their names, and so have those of code and data, which are left out
experiments: env ## headline figures of experiments, and the parameters that differ; ARGS=-A for all commits
	@$(RUN) dvc exp show --only-changed --drop '^(cascade|tasks|data|models)(/|$$)' --keep '^(?!tasks|data|models)\w+/' $(ARGS)

# three processes, since tests wait for services a fifth of their time; a file stays in one of them, the long ones first
# (tests/conftest.py)
PYTEST := OMP_NUM_THREADS=1 $(RUN) pytest -n 3 --no-loadscope-reorder

# what tests start besides packages of Python
programs: env
	@deploy/nginx/install.sh
	@deploy/prometheus/install.sh
	@deploy/postgres/install.sh
	@tests/support/install_chromium.sh
	@deploy/pm2/install.sh

test: programs ## unit, integration and end-to-end tests of every part, three files at a time; ARGS=tests/unit chooses
	@$(PYTEST) -m "not slow and not cluster" $(ARGS)

slow: programs ## the tests that `make test` leaves out: further cases of a kind, and those of 6 s and more
	@$(PYTEST) -m "slow and not cluster" $(ARGS)

cluster: env ## the tests on a Ray cluster of two nodes, which want both cores for themselves; CI does not run them
	@$(RUN) pytest -q -m cluster $(ARGS)

fuzz: env ## 20,000 damaged EXIF blocks, pictures and clips through the decoder, and pictures to the service; for a night
	@FUZZ_CASES=20000 $(RUN) pytest -q --timeout 36000 tests/unit/cascade/preprocess/test_exif.py tests/unit/cascade/decoding/test_fuzz.py \
		tests/e2e/test_service_abuse.py::test_damaged_images_cost_no_memory

gpu-check: env ## every model of gpu24 at its real size on this card, against the profile's claims; ARGS="--device cpu --tiny"
	@$(RUN) python -m tasks.tools.gpu_check $(ARGS)

lint: env ## ruff (lint and format), mypy, and no secret in any file
	@$(RUN) ruff check
	@$(RUN) ruff format --check
	@$(RUN) mypy
	@$(RUN) python -m tasks.tools.secret_scan

format: env ## let ruff mend what it can
	@$(RUN) ruff check --fix
	@$(RUN) ruff format

serve: env ## the champion in the foreground
	@$(RUN) streetvision serve

restore: env ## the champion of this revision from DVC's remote, served again; ARGS="--ledger FILE" with a copy of the ledger
	@$(RUN) streetvision restore $(ARGS)

stop: env ## stop the service that `make run` started
	@$(RUN) python -m flows.server.stop

up: env ## the service, nginx, Prefect and MLflow, kept running by PM2; ARGS="--only serve" chooses
	@deploy/pm2/install.sh
	@$(RUN) streetvision up $(ARGS)

down: env ## end all that `make up` and promotions started
	@$(RUN) streetvision down

ui: env ## Prefect (server, workers, deployments) and MLflow on loopback until Ctrl-C
	@$(RUN) python -m flows.server.ui

docs: env ## the documentation as a site: var/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --quiet

deploy: env ## the deployments of prefect.yaml, of the present commit, to the server of STREETVISION_PREFECT_API_URL
	@$(RUN) python -m flows.server.deploy

bench: env ## ratios to transformers, torch, ultralytics, LitServe, FiftyOne, against those of earlier commits; ARGS="--only service"
	@deploy/nginx/install.sh
	@$(UV) run --frozen --quiet --group bench $(addprefix --extra ,$(EXTRAS)) python -m tests.bench.run $(ARGS)


hooks: env ## lint at each commit, unit tests at each push
	@$(RUN) pre-commit install --hook-type pre-commit --hook-type pre-push
