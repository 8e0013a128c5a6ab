//! Writes the messages of ONNX as Rust, and which of their fields hold messages, from the
//! standard's `onnx.proto3`.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use prost_types::{DescriptorProto, FileDescriptorSet};

const HEAD: &str = "\
//! The messages of ONNX. Generated from the standard's `onnx.proto3` by `crates/io/onnx`: do not
//! edit.
//!
//! `onnx.proto3` is part of ONNX, Copyright (c) ONNX Project Contributors, under the Apache License
//! 2.0.

";

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let set = protox::compile(["onnx.proto3"], [here])?;
    let links = links(&set)?;
    let folder = tempfile::tempdir()?;
    prost_build::Config::new().disable_comments(["."]).out_dir(folder.path()).compile_fds(set)?;
    let messages = std::fs::read_to_string(folder.path().join("onnx.rs"))?;
    std::fs::write(here.join("../src/model/proto.rs"), format!("{HEAD}{messages}\n{links}"))?;
    Ok(())
}

/// A table of the fields that hold messages.
fn links(set: &FileDescriptorSet) -> Result<String, std::fmt::Error> {
    let mut table = String::from(
        "/// Fields that hold messages: of which message, its number, and which message it holds.
#[cfg(test)]
pub(super) const LINKS: &[(&str, u64, &str)] = &[\n",
    );
    for file in &set.file {
        for message in &file.message_type {
            link(message, "", &mut table)?;
        }
    }
    table.push_str("];\n");
    Ok(table)
}

fn link(message: &DescriptorProto, outside: &str, table: &mut String) -> std::fmt::Result {
    let name = format!("{outside}{}", message.name());
    for field in message.field.iter().filter(|field| field.type_name.is_some() && !is_enum(field.r#type())) {
        writeln!(table, "    ({name:?}, {}, {:?}),", field.number(), field.type_name().trim_start_matches(".onnx."))?;
    }
    message.nested_type.iter().try_for_each(|inner| link(inner, &format!("{name}."), table))
}

fn is_enum(kind: prost_types::field_descriptor_proto::Type) -> bool {
    kind == prost_types::field_descriptor_proto::Type::Enum
}
