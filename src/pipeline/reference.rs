//! The reference of the settings and of the tables, generated from the structs' own docs:
//! docs/config.md and docs/tables.md.

use std::fmt::Write as _;

use schemars::{JsonSchema, Schema, schema_for};
use serde_json::Value;

use crate::calibrate;
use crate::pipeline::engine::slurm::settings::Settings;
use crate::pipeline::file::{EmbedderSettings, File, SourceSettings};
use crate::pipeline::report::{HistogramBin, TaskReport};
use crate::stages::{cluster, dedup, embed, export, ingest, retrieve, sample};
use lvd_io::images::{Failed, ImageFacts, ImageMeta};
use lvd_io::row::{ColumnDoc, Row};

/// docs/config.md.
#[must_use]
pub fn settings() -> String {
    let mut text = String::from(
        "# The pipeline file\n\nA pipeline is a TOML file. Printed by `lvd config`; a test fails when this page is stale.\n\
         Paths are relative to the file. Unknown keys are errors. `--set step.key=value` overrides a setting for one command.\n",
    );
    section::<File>(&mut text, "Top level");
    section::<SourceSettings>(&mut text, "`[sources.NAME]`");
    section::<EmbedderSettings>(&mut text, "`[embedders.NAME]`");
    text.push_str(
        "\n## `[steps.NAME]`\n\nSteps run in the order of the file, and read steps above them. `stage` says the kind of work; left out, it is the \
         step's name. An input that is left out is the only step above that fits, or the last one where the text says so.\n",
    );
    section::<ingest::Ingest>(&mut text, "`stage = \"ingest\"`");
    section::<ingest::Http>(&mut text, "`[steps.NAME.http]` of ingest");
    section::<embed::Embed>(&mut text, "`stage = \"embed\"`");
    section::<dedup::Dedup>(&mut text, "`stage = \"dedup\"`");
    section::<cluster::Cluster>(&mut text, "`stage = \"cluster\"`");
    section::<retrieve::Retrieve>(&mut text, "`stage = \"retrieve\"`");
    section::<retrieve::SetRule>(&mut text, "`[steps.NAME.sets.SOURCE]` of retrieve");
    section::<sample::Sample>(&mut text, "`stage = \"sample\"`");
    section::<export::Export>(&mut text, "`stage = \"export\"`");
    section::<Settings>(&mut text, "`[engine.slurm]`");
    text
}

fn section<T: JsonSchema>(text: &mut String, title: &str) {
    let schema: Schema = schema_for!(T);
    let schema = schema.as_value();
    let about = schema["description"].as_str().unwrap_or_default();
    let _ =
        write!(text, "\n### {title}\n\n{}\n\n| key | type | default | |\n| --- | --- | --- | --- |\n", one_line(about));
    let Some(properties) = schema["properties"].as_object() else { return };
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (key, property) in properties {
        let default = match &property["default"] {
            Value::Null if required.contains(&Value::String(key.clone())) => "required".to_owned(),
            // Tables have a section of their own.
            Value::Null | Value::Object(_) => String::new(),
            default => format!("`{}`", short(default)),
        };
        let about = property["description"].as_str().map(str::to_owned).unwrap_or_default();
        let kind = kind(property, schema);
        let _ = writeln!(text, "| `{key}` | {kind} | {default} | {} |", one_line(&about));
    }
}

/// A default as a person would type it: an f32 has seven digits.
fn short(default: &Value) -> String {
    match default.as_f64().filter(|_| default.is_f64()) {
        Some(number) => {
            let text = format!("{number:.6}");
            let text = text.trim_end_matches('0');
            if text.ends_with('.') { format!("{text}0") } else { text.to_owned() }
        }
        None => default.to_string(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn kind(property: &Value, root: &Value) -> String {
    if let Some(name) = property["$ref"].as_str() {
        return kind(root.pointer(name.trim_start_matches('#')).unwrap_or(&Value::Null), root);
    }
    if let Some(options) = property["anyOf"].as_array().or_else(|| property["oneOf"].as_array()) {
        let names =
            options.iter().filter(|option| option["type"] != "null").map(|option| match option["const"].as_str() {
                Some(name) => format!("`{name}`"),
                None => kind(option, root),
            });
        return names.collect::<Vec<_>>().join(", ");
    }
    if let Some(names) = property["enum"].as_array() {
        return names.iter().filter_map(Value::as_str).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    }
    let name = match &property["type"] {
        Value::String(name) => name.as_str(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or(""),
        _ => "",
    };
    match name {
        "array" => format!("list of {}", kind(&property["items"], root)),
        "object" => "table".into(),
        "boolean" => "true, false".into(),
        name => name.into(),
    }
}

fn of<R: Row>() -> (String, Vec<ColumnDoc>) {
    (R::about(), R::columns())
}

/// docs/tables.md.
#[must_use]
pub fn tables() -> String {
    let mut text = String::from(
        "# The tables\n\nEvery step leaves plain Parquet in `WORK/STEP/`; a table of several parts is read with a glob. Printed by \
         `lvd tables`; a test fails when this page is stale. A `?` marks columns that may be null.\n",
    );
    let mut add = |title: &str, place: &str, (about, columns): (String, Vec<ColumnDoc>)| {
        let _ = write!(
            text,
            "\n## {title}\n\n`{place}`\n\n{}\n\n| column | type | |\n| --- | --- | --- |\n",
            one_line(&about)
        );
        for column in columns {
            let _ = writeln!(text, "| `{}` | {} | {} |", column.name, column.kind, one_line(&column.doc));
        }
    };
    add("ingest: images", "INGEST/part-*.parquet", of::<ImageMeta>());
    add("ingest: facts", "INGEST/facts/part-*.parquet", of::<ImageFacts>());
    add("ingest: failed rows", "INGEST/failed/part-*.parquet", of::<Failed>());
    add("ingest: listed rows", "INGEST/listed/part-*.parquet", of::<ingest::Listed>());
    add("ingest: rows no longer listed", "INGEST/gone/part-*.parquet", of::<ingest::Gone>());
    add("ingest: exact copies", "INGEST/kept/part-*.parquet", of::<ingest::Kept>());
    add("dedup: decisions", "DEDUP/part-*.parquet", of::<dedup::Group>());
    add("dedup: neighbours", "DEDUP/edges/part-*.parquet", of::<dedup::Edge>());
    add("cluster: assignment", "CLUSTER/part-*.parquet", of::<cluster::Assigned>());
    add("cluster: tree", "CLUSTER/tree/part-*.parquet", of::<cluster::Node>());
    add("retrieve", "RETRIEVE/part-*.parquet", of::<retrieve::Retrieved>());
    add("sample", "SAMPLE/part-*.parquet", of::<sample::Sampled>());
    add("sample: balance", "SAMPLE/balance/part-*.parquet", of::<sample::Balance>());
    add(
        "export: provenance",
        "EXPORT/data/part-*.parquet, after the columns of ingest's images",
        of::<export::Provenance>(),
    );
    add("export: composition", "EXPORT/composition.parquet", of::<export::CompositionRow>());
    add("calibrate: thresholds", "_calibrate/DEDUP/thresholds.parquet", of::<calibrate::ThresholdRow>());
    add("calibrate: edits", "_calibrate/DEDUP/edits.parquet", of::<calibrate::EditRow>());
    add("calibrate: copies", "_calibrate/DEDUP/copies.parquet", of::<calibrate::CopyRow>());
    add("calibrate: pairs that look alike", "_calibrate/DEDUP/alike.parquet", of::<calibrate::NearPair>());
    add(
        "calibrate: the nearest that do not look alike",
        "_calibrate/DEDUP/unlike.parquet",
        of::<calibrate::NearPair>(),
    );
    add("every step: report", "STEP/report.parquet", of::<TaskReport>());
    add("every step: histograms", "STEP/histogram.parquet", of::<HistogramBin>());
    text.push_str(
        "\n## embed: vectors\n\n`EMBED/EMBEDDER/part-*.parquet`\n\n`id` (uint64), `sha256` (string) and `embedding`: fixed-size binary, fp16 \
         little-endian, unit norm. The field's metadata say `dtype` and `dimension`. Lists of floats would take ten times longer to read; as a \
         matrix in Python:\n\n```python\nimport numpy as np, pyarrow.dataset as ds\n\
         table = ds.dataset(\"work/embed/copy\", format=\"parquet\", exclude_invalid_files=True).to_table()\n\
         vectors = np.stack([np.frombuffer(v, np.float16) for v in table[\"embedding\"].to_pylist()])\n```\n\
         \nAs plain numbers, for programs that would rather not: `lvd vectors my.toml embed/copy copy.npy` writes a matrix (and the ids, \
         `copy.ids.npy`), `copy.parquet` instead `id` and a list of float32.\n\
         \n## cluster: centroids\n\n`CLUSTER/centroids/part-*.parquet`\n\n`level` (uint32, 1 is the finest), `cluster` (uint32), `parent` (uint32?) \
         and `embedding`: fixed-size binary, fp32 little-endian.\n",
    );
    text
}
