//! `[engine.slurm]` with its overrides.

use toml::{Table, Value};

use crate::pipeline::check::complaints::Complaints;
use crate::pipeline::engine::slurm::settings::{AllSettings, Settings};
use crate::pipeline::file::Source;
use crate::pipeline::steps::Step;
use lvd_base::error::{Fault, choices};

/// The settings of jobs, each table looked at by itself.
pub fn slurm(mut base: Table, steps: &[Step], source: &Source, complaints: &mut Complaints) -> AllSettings {
    let at = ["engine", "slurm", "overrides"];
    let overrides = base.remove("overrides").unwrap_or(Value::Table(Table::new()));
    look(&at[..2], &base, source, complaints);
    let mut all = AllSettings { base, ..AllSettings::default() };
    let Value::Table(overrides) = overrides else {
        unknown(&at, steps, complaints);
        return all;
    };
    for (name, over) in overrides {
        let keys = [&at[..], &[&name]].concat();
        match over {
            Value::Table(over) if is_known(&name, steps) => {
                look(&keys, &over, source, complaints);
                all.overrides.insert(name, over);
            }
            // A step that is not what it says has phases that nobody knows.
            _ if name.split('/').next().is_some_and(|step| complaints.broken.contains(step)) => {}
            _ => unknown(&keys, steps, complaints),
        }
    }
    all
}

/// Notes what is wrong with a table.
fn look(keys: &[&str], table: &Table, source: &Source, complaints: &mut Complaints) {
    let at: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
    let parsed = source.parse_at::<Settings>(&at, table.clone());
    let left_out = parsed.left_out.clone();
    for (key, fault) in complaints.usable(parsed).iter().flat_map(Settings::faults) {
        // One that was left out stands at its default.
        if !left_out.iter().any(|keys| keys.last().is_some_and(|left_out| left_out == key)) {
            complaints.fault(&[keys, &[key]].concat(), fault);
        }
    }
}

/// Whether an override is of this pipeline.
fn is_known(name: &str, steps: &[Step]) -> bool {
    let of = |step: &Step| {
        let mut phases = step.stage.phases().into_iter().map(|phase| format!("{}/{}", step.name, phase.name));
        name == step.name || name == step.stage.kind().name() || phases.any(|phase| name == phase)
    };
    name == "driver" || steps.iter().any(of)
}

fn unknown(keys: &[&str], steps: &[Step], complaints: &mut Complaints) {
    let names = steps.iter().flat_map(|step| [step.name.as_str(), step.stage.kind().name()]).chain(["driver"]);
    let list = "an override is a table, named by a stage, a step, a \"step/phase\", or `driver`";
    let hint = choices(keys.last().copied().unwrap_or(""), list, names);
    complaints.fault(keys, Fault::new("is no override of this pipeline", hint));
}
