//! `lvd vectors`: a table of vectors as plain numbers.

use std::path::Path;

use crate::cli::choice::position;
use crate::cli::say::say;
use crate::cli::stop::Stop;
use crate::cli::table::thousands;
use crate::pipeline::steps::Pipeline;
use lvd_base::error::{Error, Result, choices};
use lvd_io::checked::Stored;
use lvd_io::plain::Plain;
use lvd_io::vectors;

/// Writes table `STEP/EMBEDDER` to `out`, in the order of the ids.
pub fn vectors(pipeline: &Pipeline, table: &str, out: &Path) -> std::result::Result<(), Stop> {
    let (step, name) = table.split_once('/').unwrap_or((table, ""));
    let step = &pipeline.steps[position(pipeline, step)?];
    let tables = pipeline.tables(&step.name).map_err(Stop::of_user)?;
    let parts = tables.get(name).map(|table| table.parts.clone()).ok_or_else(|| {
        let known: Vec<String> = tables.keys().map(|name| format!("{}/{name}", step.name)).collect();
        Stop::usage(
            format!("there is no table {table:?}"),
            choices(table, &format!("there is {}", known.join(", ")), known.iter().map(String::as_str)),
        )
    })?;
    if out.exists() {
        let hint = "remove it, or choose another name";
        return Err(Stop::usage(format!("{} exists", out.display()), hint));
    }
    let opened: Vec<Stored> = parts.iter().map(|part| pipeline.store.part(part)).collect::<Result<_>>()?;
    let rows = parts.iter().map(|part| part.rows).sum();
    write(&opened, rows, out)?;
    say!("{} vectors in {}", thousands(rows), out.display());
    Ok(())
}

/// Copies all parts; a file that was not finished cannot be opened as what its name says.
fn write(parts: &[Stored], rows: u64, out: &Path) -> Result<()> {
    let mut plain = None;
    for part in parts {
        for block in vectors::read(part)? {
            let block = block?;
            let plain = match &mut plain {
                Some(plain) => plain,
                none => none.insert(Plain::create(out, rows, block.dimension)?),
            };
            plain.write(block)?;
        }
    }
    plain.map_or_else(|| Err(Error::usage("the table holds no vector", "lvd report FILE says why")), Plain::finish)
}
