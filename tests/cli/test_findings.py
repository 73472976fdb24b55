"""`simko findings` as people and scripts meet it: text, JSON, exit codes, watching, hooks on a real server."""

from __future__ import annotations

import http.server
import json
import os
import sys
import threading

import manifests
import pytest
from findings_runs import Course, level, write
from simko.cli.simko import main
from simko.store.errors import UsageError
from simko.store.writing.findings_file import last_states

FEW = ["--rule", "entropy-collapse", "--rule", "nonfinite-tokens", "--rule", "sampler-mismatch"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("findings") / "runs"
    short = {"steps": 30, "responses": False, "success": {}, "gap": None}
    write(folder / "fine", Course(**short))
    write(folder / "warned", Course(**short, entropy=level(0.5, 0.05), open_share=level(0.0)))
    write(folder / "broken", Course(**short, nonfinite=(3,)))
    return folder


@pytest.fixture
def server():
    """A server on loopback that answers `status` and keeps the bodies."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.bodies.append((self.headers["Content-Type"], json.loads(body)))
            self.send_response(self.server.status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.bodies, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def output(capsys, *arguments):
    code = main(["findings", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_fired_first_then_ok_then_skipped_with_a_reason(runs, capsys):
    code, out, err = output(capsys, runs / "warned", *FEW)
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0] == "warned: finished, 1 finding"
    assert lines[2].startswith("✗ warning: entropy collapses (steps 1 to 30)")
    for name in ("entropy fell from 0.4", "means: ", "try: ", "source: arXiv 2505.22617", 'see: simko query "SELECT'):
        assert any(line.strip().startswith(name) for line in lines)
    assert lines[-2:] == [
        "ok: nonfinite-tokens",
        "skipped: sampler-mismatch, because the sampler's log-probs are not logged",
    ]


def test_exit_codes_are_for_scripts(runs, capsys):
    assert output(capsys, runs / "fine", *FEW)[0] == 0
    assert output(capsys, runs / "broken", *FEW)[0] == 4
    assert output(capsys, runs, *FEW)[0] == 4
    assert output(capsys, runs / "fine", "--rule", "sampler-mismatch")[0] == 5


def test_json_holds_every_run_and_rule(runs, capsys):
    code, out, _ = output(capsys, runs, *FEW, "--format", "json")
    looks = json.loads(out)
    assert code == 4 and [look["run"] for look in looks] == ["broken", "fine", "warned"]
    states = {look["run"]: {f["rule"]: f["state"] for f in look["findings"]} for look in looks}
    assert states["broken"]["nonfinite-tokens"] == "fired" and states["fine"]["sampler-mismatch"] == "skipped"
    fired = next(f for f in looks[0]["findings"] if f["state"] == "fired")
    assert fired["figures"]["n_nonfinite"] == 1 and fired["steps"] == [1, 30] and fired["sql"].startswith("SELECT")


def test_mistakes_are_one_line(runs, tmp_path, capsys):
    wrong = [
        ([runs / "fin"], "no folder"),
        ([tmp_path], "holds no runs"),
        ([runs / "fine", "--rule", "entropy"], "no rule entropy"),
        ([runs / "fine", "--watch", "0"], "seconds above 0"),
        ([runs / "fine", "--webhook", "file:///etc/passwd"], "http:// or https://"),
        ([runs / "fine", "--on-fire", "no-such-program x"], "no such command"),
        ([runs / "fine", "--on-fire", "'open"], "close the quotes"),
    ]
    for arguments, words in wrong:
        code, out, err = output(capsys, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1) and words in err


def test_a_command_is_told_by_its_environment_and_by_no_shell(runs, tmp_path, capsys):
    told = tmp_path / "told; touch pwned"
    script = "import os, json, sys; json.dump(dict(os.environ), open(sys.argv[1], 'a'))"
    command = f'{sys.executable} -c "{script}" "{told}"'
    code, _, err = output(capsys, runs / "broken", *FEW, "--on-fire", command)
    environment = json.loads(told.read_text())
    assert (code, err) == (4, "") and environment["SIMKO_RUN"] == "broken"
    assert environment["SIMKO_RULE"] == "nonfinite-tokens" and environment["SIMKO_SEVERITY"] == "critical"
    assert json.loads(environment["SIMKO_FINDING"])["figures"]["n_nonfinite"] == 1
    assert os.listdir(tmp_path) == [told.name]
    code, _, err = output(capsys, runs / "broken", *FEW, "--on-fire", "false")
    assert code == 4 and err == "warning: --on-fire failed for nonfinite-tokens: it ended with code 1; going on\n"


def test_a_webhook_gets_json_and_its_failure_is_told(runs, capsys, server):
    url = f"http://127.0.0.1:{server.server_port}/hook"
    code, _, err = output(capsys, runs, *FEW, "--webhook", url)
    assert (code, err) == (4, "") and len(server.bodies) == 2
    kind, body = server.bodies[0]
    assert kind == "application/json" and (body["run"], body["rule"]) == ("broken", "nonfinite-tokens")
    assert body["path"] == str(runs / "broken")
    server.status = 500
    code, _, err = output(capsys, runs / "broken", *FEW, "--webhook", url)
    assert code == 4 and "--webhook failed for nonfinite-tokens: the server answered 500; going on" in err


def test_watching_goes_on_when_a_hook_fails_and_fires_each_rule_once(runs, tmp_path, capsys, monkeypatch):
    """A run that is being written: the second look finds it broken, the third finds it ended."""
    folder = tmp_path / "run"
    write(folder, Course(steps=2, responses=False, success={}, gap=None))
    manifest = next((folder / "manifest").glob("0*.jsonl"))
    *written, end = manifests.entries(manifest)
    start = {**written[0], "pid": os.getpid()}
    sign = manifest.with_name(f".alive-{manifest.stem}")
    manifests.write(manifest, [start, *written[1:]])
    sign.touch()
    looks = []

    def sleep(_):
        looks.append(1)
        dropped = {"kind": "cost", "dropped": 3, "error": None}
        manifests.write(manifest, [start, *written[1:], dropped, *([end] if len(looks) == 2 else [])])

    monkeypatch.setattr("simko.cli.findings.time.sleep", sleep)
    rules = ["--rule", "batches-dropped", "--rule", "writer-silent"]
    hook = ["--webhook", "http://127.0.0.1:1/", "--write"]
    code, out, err = output(capsys, folder, *rules, "--watch", "5", *hook)
    assert (code, len(looks)) == (1, 2)
    assert out.startswith("run: running, no findings\n") and out.count("the probe drops rows") == 1
    assert err.count("--webhook failed for batches-dropped") == 1
    assert last_states(folder) == {"batches-dropped": "fired", "writer-silent": "ok"}
    code, _, err = output(capsys, folder, *rules, *hook)  # it fires still, and was told already
    assert (code, err) == (1, "")
    assert len((folder / "findings.jsonl").read_text().splitlines()) == 3


def test_nothing_is_written_unless_asked_for(runs, capsys):
    before = sorted(path for path in runs.rglob("*"))
    output(capsys, runs, *FEW)
    assert sorted(path for path in runs.rglob("*")) == before


def test_show_has_a_line_of_findings(runs, capsys):
    assert main(["show", str(runs / "broken")]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("1 finding: nonfinite-tokens; `simko findings ") and last.endswith("broken`")
    assert main(["show", str(runs / "fine")]) == 0
    assert "finding" not in capsys.readouterr().out


def test_a_hook_url_must_be_one():
    from simko.cli.terminal.finding_hooks import hooks

    with pytest.raises(UsageError):
        hooks(None, "http://[::1")
    assert hooks(None, None) == []
