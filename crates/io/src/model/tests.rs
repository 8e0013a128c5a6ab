//! Models written by the project's own messages, with weights in other files.

use prost::Message as _;

use super::*;
use crate::model::proto::tensor_proto::DataLocation;
use crate::model::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, StringStringEntryProto,
    TensorProto, TrainingInfoProto,
};

type Done = std::result::Result<(), Box<dyn std::error::Error>>;

fn tensor(location: &str) -> TensorProto {
    let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
    TensorProto {
        name: "w".into(),
        external_data: vec![entry("offset", "0"), entry("location", location), entry("length", "4")],
        data_location: DataLocation::External.into(),
        ..Default::default()
    }
}

fn model(graph: GraphProto) -> Vec<u8> {
    ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec()
}

fn initializers(locations: &[&str]) -> Vec<u8> {
    model(GraphProto { initializer: locations.iter().map(|l| tensor(l)).collect(), ..Default::default() })
}

/// A node with a tensor, or a graph, for an attribute.
fn node(t: Option<TensorProto>, g: Option<GraphProto>) -> NodeProto {
    NodeProto { attribute: vec![AttributeProto { t, g, ..Default::default() }], ..Default::default() }
}

#[test]
fn every_place_of_a_tensor_is_looked_at() -> Done {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("m.onnx");
    let inner = GraphProto { node: vec![node(Some(tensor("deep")), None)], ..Default::default() };
    let branch =
        GraphProto { initializer: vec![tensor("branch")], node: vec![node(None, Some(inner))], ..Default::default() };
    let inside = TensorProto { data_location: 0, ..tensor("not external") };
    let graph = GraphProto {
        initializer: vec![tensor("b/c.data"), tensor("a"), tensor("a"), inside],
        node: vec![node(Some(tensor("constant")), Some(branch))],
        ..Default::default()
    };
    std::fs::write(&path, model(graph))?;
    assert_eq!(external(&path)?, ["a", "b/c.data", "branch", "constant", "deep"]);
    let sparse = |values: &str, indices: &str| SparseTensorProto {
        values: Some(tensor(values)),
        indices: Some(tensor(indices)),
        ..Default::default()
    };
    let attribute = AttributeProto {
        tensors: vec![tensor("listed")],
        graphs: vec![GraphProto { sparse_initializer: vec![sparse("values", "indices")], ..Default::default() }],
        sparse_tensor: Some(sparse("one", "two")),
        sparse_tensors: vec![sparse("three", "four")],
        ..Default::default()
    };
    let function = FunctionProto {
        node: vec![node(Some(tensor("function")), None)],
        attribute_proto: vec![attribute],
        ..Default::default()
    };
    let half = |location: &str| GraphProto { initializer: vec![tensor(location)], ..Default::default() };
    let training = TrainingInfoProto {
        initialization: Some(half("initial")),
        algorithm: Some(half("algorithm")),
        ..Default::default()
    };
    let model = ModelProto { functions: vec![function], training_info: vec![training], ..Default::default() };
    std::fs::write(&path, model.encode_to_vec())?;
    let mut expected =
        ["algorithm", "four", "function", "indices", "initial", "listed", "one", "three", "two", "values"];
    expected.sort_unstable();
    assert_eq!(external(&path)?, expected);
    Ok(())
}

#[test]
fn what_is_no_model_names_no_file_and_is_read_to_an_end() -> Done {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("m.onnx");
    let whole = initializers(&["a"]);
    for bytes in [&b""[..], b"<html>404</html>", &[0xff; 100], &vec![0x3a; 100_000], &whole[..whole.len() - 3]] {
        std::fs::write(&path, bytes)?;
        assert_eq!(external(&path)?, Vec::<String>::new());
    }
    Ok(())
}

#[test]
fn places_outside_of_the_folder_are_refused() -> Done {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("m.onnx");
    for location in ["/etc/passwd", "../weights", "a/../../b", "", ".."] {
        std::fs::write(&path, initializers(&[location]))?;
        let error = identity(&path).err().ok_or("it leaves the folder")?;
        assert!(error.to_string().contains(&format!("{location:?}, outside of the model's folder")), "{error}");
    }
    Ok(())
}

#[test]
fn each_file_of_weights_is_part_of_the_identity() -> Done {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("m.onnx");
    std::fs::write(&path, initializers(&["w1", "w2"]))?;
    std::fs::write(folder.path().join("w1"), b"one")?;
    let error = identity(&path).err().ok_or("w2 is not there")?;
    assert!(error.to_string().contains("w2, which is not there"), "{error}");
    std::fs::write(folder.path().join("w2"), b"two")?;
    let known = identity(&path)?;
    assert_eq!(known.weights.len(), 2);
    verify(&path, &known)?;
    // Same length, same name: found by the times, and then by the hash.
    std::fs::write(folder.path().join("w2"), b"owt")?;
    let error = verify(&path, &known).err().ok_or("w2 was changed")?.to_string();
    assert!(error.contains("w2: its SHA-256 is") && error.contains(&known.weights["w2"]), "{error}");
    // A model that got a second file since.
    std::fs::write(&path, initializers(&["w1"]))?;
    let error = verify(&path, &known).err().ok_or("m.onnx was changed")?.to_string();
    assert!(error.contains("m.onnx: its SHA-256 is") && error.contains(&known.sha256), "{error}");
    Ok(())
}
