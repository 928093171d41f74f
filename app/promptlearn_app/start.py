"""The forms that start a run: from a configuration in the dashboard's folder, or from an uploaded prompt and table.

A run is a process of its own, started by the same command as in a terminal.
"""

from __future__ import annotations

import time
from pathlib import Path

import streamlit as st

from promptlearn.dashboard import commands
from promptlearn.dashboard.commands import Started
from promptlearn_app import reads, safe

_BEGUN = "begun"
_UPLOADED = "uploaded_config"
WAIT_SECONDS = 90
DEMO = "The demo (no key needed)"


def start_form() -> None:
    waiting: Started | None = st.session_state.get(_BEGUN)
    if waiting is not None:
        _wait_for(waiting)
        return
    by_file, by_upload = st.tabs(["From a configuration", "From a prompt and a table"])
    with by_file:
        _from_configuration()
    with by_upload:
        _from_upload()


def _from_configuration() -> None:
    configs = [str(path) for path in commands.find_configs(reads.home())]
    if not configs:
        safe.note(f"No promptlearn.yaml in {reads.home()}; `promptlearn init` writes one, or upload a prompt.")
        return
    with st.form("from_configuration", border=False):
        name = st.selectbox("Configuration", configs, key="start_config")
        calls = st.number_input(
            "At most so many task calls (0: as the configuration says)",
            min_value=0,
            value=0,
            step=100,
            key="start_calls",
        )
        if st.form_submit_button("Start the run", type="primary", key="start_run"):
            _begin(commands.config_inside(reads.home(), name), int(calls))


def _from_upload() -> None:
    config: str | None = st.session_state.get(_UPLOADED)
    if config is not None:
        _review_upload(Path(config))
        return
    with st.form("from_upload", border=False):
        prompt = st.text_area("Your prompt", height=140, key="start_prompt", placeholder="You help our shop with …")
        data = st.file_uploader(
            "Your examples: one row each, with the right answer in a column of its own",
            type=[suffix[1:] for suffix in commands.DATA_SUFFIXES],
            key="start_data",
        )
        model = st.text_input("Model that answers", value="openai/gpt-5-mini", key="start_model")
        if not st.form_submit_button("Look at what a run would take", key="start_upload"):
            return
    if not prompt.strip() or data is None:
        safe.warn("Give both a prompt and a table.")
        return
    _prepare(prompt, data.name, data.getvalue(), model.strip())


def _prepare(prompt: str, name: str, data: bytes, model: str) -> None:
    folder = reads.private_folder()
    prompt_file, data_file = commands.keep_upload(folder, prompt, name, data)
    config = prompt_file.parent / "promptlearn.yaml"
    config.unlink(missing_ok=True)
    words = ["init", f"--prompt={prompt_file}", f"--data={data_file}", f"--model={model}", "--json", "--"]
    answer = commands.ask([*words, str(prompt_file.parent)], reads.where(), reads.home())
    if not answer.ok:
        safe.problem(answer.message)
        return
    st.session_state[_UPLOADED] = str(config)
    st.rerun()


def _review_upload(config: Path) -> None:
    """The configuration that was guessed, for a person to mend."""
    st.markdown("**This is what would run.** Columns were guessed from their names; change what is wrong.")
    text = st.text_area(
        "Configuration",
        value=config.read_text(encoding="utf-8"),
        height=320,
        key="start_text",
        label_visibility="collapsed",
    )
    check, start, back = st.columns(3)
    checked = check.button("Check it", key="start_check", width="stretch")
    started = start.button("Start the run", type="primary", key="start_uploaded", width="stretch")
    if back.button("Begin anew", key="start_back", width="stretch"):
        del st.session_state[_UPLOADED]
        st.rerun()
    if not (checked or started):
        return
    config.write_text(text, encoding="utf-8")
    answer = commands.ask(["check", f"--config={config}", "--json"], reads.where(), reads.home())
    if not answer.ok:
        safe.problem(answer.message)
    elif started:
        _begin(config, 0)
    else:
        st.success("Everything is there. Start the run when you like.", icon=":material/check:")


def _begin(config: Path, calls: int) -> None:
    overrides = [f"budget.task_calls={calls}"] if calls else []
    begun(commands.start_run(config, reads.where(), reads.home(), reads.private_folder(), overrides))
    st.rerun()


def begun(started: Started) -> None:
    """Remember a run that was started, until it has an id."""
    st.session_state[_BEGUN] = started
    st.session_state["begun_at"] = time.monotonic()


@st.fragment(run_every=0.7)
@safe.shielded
def _wait_for(waiting: Started) -> None:
    """Until the run has an id, or says why it has none."""
    run, failed = waiting.run(), waiting.failed()
    late = time.monotonic() - st.session_state.get("begun_at", 0.0) > WAIT_SECONDS
    if run:
        del st.session_state[_BEGUN]
        st.session_state.pop(_UPLOADED, None)
        st.switch_page("views/run.py", query_params={"run": run})
    elif failed or late:
        safe.problem(failed or "The run has not begun yet; it will be in the list once it has.")
        if st.button("Back", key="start_again"):
            del st.session_state[_BEGUN]
            st.rerun(scope="app")
    else:
        st.info("The run is starting: models and data are opened …", icon=":material/hourglass_top:")
