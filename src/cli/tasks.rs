//! `lvd plan --tasks`: the tasks that can run now, for a scheduler that is not Slurm.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::args::TaskFormat;
use crate::cli::choice::steps_between;
use crate::cli::say::say;
use crate::cli::stop::Stop;
use crate::cli::table::{print, print_json};
use crate::pipeline::engine::Engine;
use crate::pipeline::event::Event;
use crate::pipeline::runner::options::Options;
use crate::pipeline::runner::{OpenPhase, advance};
use crate::pipeline::shell::quoted;
use crate::pipeline::steps::Pipeline;
use lvd_base::error::Error;

/// Closes what is whole, opens what can run, and prints its tasks.
pub fn tasks(pipeline: &Pipeline, format: TaskFormat, replace: bool) -> Result<(), Stop> {
    let observer = |event: Event| {
        if let Event::Warning(text) = event {
            say!("warning: {text}");
        }
    };
    let engine = Engine::Local { threads: 1, at_once: 1 };
    let options = Options { engine, wait: false, replace, observer: &observer };
    let open = advance(pipeline, &steps_between(pipeline, None, None)?, &options)?;
    let work = pipeline.store.work.absolute()?;
    let program = std::env::current_exe().map_err(Error::io("this program"))?;
    let program = program.to_string_lossy();
    let command = |open: &OpenPhase, number: usize| {
        [&*program, "task", &work, open.step, open.phase, &number.to_string()].map(str::to_owned)
    };
    match format {
        TaskFormat::Sh => {
            let mut text = String::new();
            for open in &open {
                for &number in &open.missing {
                    let _ = writeln!(text, "{}", command(open, number).map(|word| quoted(&word)).join(" "));
                }
            }
            // Nothing left is nothing printed: `[ -s tasks.sh ]` ends a loop.
            if text.is_empty() { Ok(()) } else { Ok(print(&text)?) }
        }
        TaskFormat::Json => {
            let tasks: Vec<Value> = open
                .iter()
                .flat_map(|open| open.missing.iter().map(move |&number| (open, number)))
                .map(|(open, number)| {
                    json!({"id": format!("{}/{}/{number}", open.step, open.phase), "step": open.step, "phase": open.phase,
                        "number": number, "key": open.planned.keys[number], "command": command(open, number)})
                })
                .collect();
            print_json(
                "the tasks",
                &json!({"done": tasks.is_empty(), "tasks": tasks, "phases": phases(pipeline, &open)}),
            )
        }
    }
}

/// Every phase with what it waits for. How many tasks it has is known once it is open.
fn phases(pipeline: &Pipeline, open: &[OpenPhase]) -> Vec<Value> {
    let last = |name: &String| {
        let step = name.split('/').next().unwrap_or(name);
        let found = pipeline.steps.iter().find(|known| known.name == step)?;
        Some(format!("{step}/{}", found.stage.phases().last()?.name))
    };
    let mut phases = Vec::new();
    for step in &pipeline.steps {
        let mut after: Vec<String> = step.stage.inputs().iter().filter_map(last).collect();
        after.sort();
        after.dedup();
        for phase in step.stage.phases() {
            let id = format!("{}/{}", step.name, phase.name);
            let known = open.iter().find(|open| open.step == step.name && open.phase == phase.name);
            phases.push(json!({"id": id, "after": after, "tasks": known.map(|open| open.planned.keys.len()),
                "missing": known.map(|open| open.missing.len())}));
            after = vec![id];
        }
    }
    phases
}
