//! The two small Vision Transformers of the built-in example, written as ONNX files by the project
//! itself.
//!
//! Both read `pixels` [N, 3, S, S], RGB in 0..1 less 0.5, over 0.5, and give `embedding` [N, D],
//! not normalised. `copy` wants the picture squashed to the square, `semantic` its centre crop.
//! Their architecture is a Vision Transformer's; their weights are designed, not trained, since the
//! cosines of random weights crowd near 1.

use std::path::Path;

use lvd_base::error::{Error, Result};

mod block;
mod copy;
mod filter;
mod graph;
mod semantic;

/// Writes `copy.onnx` and `semantic.onnx` into `folder`: the same bytes every time.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path) -> Result<()> {
    let save = |name: &str, bytes: Vec<u8>| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(Error::io(&path))
    };
    save("copy.onnx", copy::build())?;
    save("semantic.onnx", semantic::build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvd_io::model::proto::ModelProto;
    use prost::Message;

    #[test]
    fn the_files_are_small_equal_every_time_and_survive_the_round_trip() {
        for build in [copy::build, semantic::build] {
            let bytes = build();
            assert!(bytes.len() < 3 << 20, "{} bytes", bytes.len());
            assert_eq!(bytes, build());
            let model = ModelProto::decode(bytes.as_slice()).expect("own bytes");
            assert_eq!(model.encode_to_vec(), bytes);
            let graph = model.graph.expect("a graph");
            assert_eq!(graph.output[0].name, "embedding");
            assert!(graph.node.iter().any(|node| node.op_type == "Softmax"));
        }
    }

    #[test]
    fn every_value_is_made_before_it_is_read() {
        for build in [copy::build, semantic::build] {
            let graph = ModelProto::decode(build().as_slice()).expect("own bytes").graph.expect("a graph");
            let mut known: Vec<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
            known.extend(graph.input.iter().map(|input| input.name.as_str()));
            for node in &graph.node {
                for input in &node.input {
                    assert!(known.contains(&input.as_str()), "{} reads {input}", node.name);
                }
                known.extend(node.output.iter().map(String::as_str));
            }
            assert!(known.contains(&"embedding"));
        }
    }

    #[test]
    fn files_are_written_where_they_are_asked_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path()).expect("writable");
        assert_eq!(std::fs::read(folder.path().join("copy.onnx")).expect("written"), copy::build());
        let missing = write(&folder.path().join("nowhere")).expect_err("no such folder");
        assert!(missing.to_string().contains("copy.onnx"), "{missing}");
    }
}
