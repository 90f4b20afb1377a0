"""The samples are what the programs, the nats-server and the load balancer understand."""

import os
import shutil
import subprocess

import pytest
import yaml
from conftest import BINARY, ROOT

CONFIG = ROOT / "deploy" / "config"
COMPOSE = ROOT / "deploy" / "compose"
# Nobody listens there.
NOWHERE = "nats://127.0.0.1:1"


def start(program, tmp_path, **environment):
    """Starts a program that cannot reach NATS; whoever understands its configuration gets as far as that."""
    done = subprocess.run(
        [BINARY.parent / program],
        env={"SECRET_KEY": "a-key", "ADMIN_LISTEN": "127.0.0.1:0", "DATA_DIR": str(tmp_path), **environment},
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("program", ["gateway", "worker"])
def test_each_program_understands_its_sample(program, tmp_path):
    code, said = start(program, tmp_path, CONFIG=str(CONFIG / f"{program}.toml"), NATS_URL=NOWHERE)
    assert code == 1 and "no NATS server answers at 127.0.0.1:1" in said, said
    code, said = start(program, tmp_path, CONFIG=str(CONFIG / f"{program}.toml"), SAFESHIPPER__NATS__REPLICAZ="3")
    assert code == 64 and "did you mean nats.replicas?" in said, said


@pytest.mark.parametrize("program", ["gateway", "worker"])
def test_a_program_by_itself_says_what_it_needs(program, tmp_path):
    code, said = start(program, tmp_path, BROKER="embedded")
    assert code == 64 and "needs NATS_URL" in said, said
    code, said = start(program, tmp_path)
    assert code == 64 and "NATS_URL" in said, said


def test_standalone_says_which_programs_run_on_nats(tmp_path):
    code, said = start("standalone", tmp_path, NATS_URL=NOWHERE)
    assert code == 64 and "gateway and worker" in said, said


def test_the_compose_file_names_programs_variables_and_files_that_exist(tmp_path):
    compose = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    seen = set()
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (COMPOSE / source).is_file(), f"{name}: {source}"
        assert set(service.get("depends_on", [])) <= set(compose["services"]), name
        if service["image"] != "safeshipper/realtime":
            continue
        (program,) = service["command"]
        seen.add(program)
        environment = {**service["environment"], "SECRET_KEY": "a-key", "NATS_URL": NOWHERE, "DATA_DIR": str(tmp_path)}
        code, said = start(program, tmp_path, **environment)
        assert code == 1 and "no NATS server answers" in said, f"{name}: {said}"
    assert seen == {"gateway", "worker"}


@pytest.mark.parametrize("sample", ["nats-single.conf", "nats-cluster.conf"])
def test_the_nats_server_understands_its_samples(sample, tmp_path):
    text = (CONFIG / sample).read_text().replace("/var/lib/nats", str(tmp_path))
    (tmp_path / sample).write_text(text)
    server = ROOT / ".tools" / "bin" / "nats-server"
    environment = {**os.environ, "NATS_NAME": "nats-0"}
    done = subprocess.run([server, "-c", tmp_path / sample, "-t"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_load_balancer_understands_its_sample():
    balancer = shutil.which("haproxy") or "/usr/sbin/haproxy"
    # It may open fewer descriptors here than where it is meant to run.
    done = subprocess.run([balancer, "-c", "-n", "1000", "-f", COMPOSE / "haproxy.cfg"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
