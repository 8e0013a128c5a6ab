//! A graph in the making, and a folder of pictures to run it on.

use std::path::{Path, PathBuf};

use crate::common::parquet_files;
use lvd_io::model::proto::attribute_proto::AttributeType;
use lvd_io::model::proto::tensor_proto::{DataLocation, DataType};
use lvd_io::model::proto::tensor_shape_proto::{Dimension, dimension};
use lvd_io::model::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use prost::Message as _;

/// Side of the pictures.
pub const SIDE: u32 = 8;
/// Numbers of a picture.
pub const VALUES: i64 = 192;
pub const FLOAT: i32 = DataType::Float as i32;
pub const INT64: i32 = DataType::Int64 as i32;
pub const BYTE: i32 = DataType::Uint8 as i32;
pub const HALF: i32 = DataType::Float16 as i32;
pub const DOUBLE: i32 = DataType::Double as i32;

/// A graph in the making.
#[derive(Default)]
pub struct Net(pub GraphProto);

pub fn tensor_type(element: i32, sides: Option<&[i64]>) -> TypeProto {
    let fixed = |side: &i64| match side {
        1.. => dimension::Value::DimValue(*side),
        _ => dimension::Value::DimParam("n".into()),
    };
    let dim = |length| Dimension { value: Some(length), ..Default::default() };
    let shape = sides.map(|sides| TensorShapeProto { dim: sides.iter().map(fixed).map(dim).collect() });
    let value = Some(type_proto::Value::TensorType(type_proto::Tensor { elem_type: element, shape }));
    TypeProto { value, ..Default::default() }
}

pub fn port(name: &str, kind: TypeProto) -> ValueInfoProto {
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
}

impl Net {
    /// A graph with input `x`; a side of 0 is open.
    pub fn taking(element: i32, sides: &[i64]) -> Self {
        let mut net = Self::default();
        net.0.name = "g".into();
        net.0.input.push(port("x", tensor_type(element, Some(sides))));
        net
    }

    /// One that takes N x 3 x 8 x 8 and makes `y`, the pixels as they are.
    pub fn flat() -> Self {
        Self::taking(FLOAT, &[0, 3, 8, 8]).node("Flatten", &["x"], "y", &[("axis", 1)])
    }

    /// The same, and `z`: 16 sums of them by `weight`.
    pub fn product() -> Self {
        Self::flat().floats("w", &[VALUES, 16], &weights(1)).node("MatMul", &["y", "w"], "z", &[])
    }

    pub fn node(mut self, operator: &str, inputs: &[&str], output: &str, settings: &[(&str, i64)]) -> Self {
        let setting = |&(name, value): &(&str, i64)| AttributeProto {
            name: name.into(),
            i: value,
            r#type: AttributeType::Int.into(),
            ..Default::default()
        };
        self.0.node.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.into()],
            name: output.into(),
            op_type: operator.into(),
            attribute: settings.iter().map(setting).collect(),
            ..Default::default()
        });
        self
    }

    pub fn tensor(mut self, name: &str, data_type: i32, dims: &[i64], raw_data: Vec<u8>) -> Self {
        let tensor = TensorProto { dims: dims.into(), data_type, name: name.into(), raw_data, ..Default::default() };
        self.0.initializer.push(tensor);
        self
    }

    pub fn floats(self, name: &str, dims: &[i64], data: &[f32]) -> Self {
        self.tensor(name, FLOAT, dims, data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    pub fn gives(mut self, name: &str, element: i32, sides: &[i64]) -> Self {
        self.0.output.push(port(name, tensor_type(element, Some(sides))));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
        ModelProto { ir_version: 8, graph: Some(self.0.clone()), opset_import, ..Default::default() }.encode_to_vec()
    }

    /// Writes the model with its first weights in a second file.
    pub fn save_in_two(mut self, model: &Path, weights: &str) {
        let tensor = &mut self.0.initializer[0];
        let data = std::mem::take(&mut tensor.raw_data);
        let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
        tensor.external_data = vec![entry("location", weights), entry("length", &data.len().to_string())];
        tensor.set_data_location(DataLocation::External);
        std::fs::write(model, self.bytes()).expect("a model");
        if let Some(folder) = model.parent().filter(|_| !weights.contains("..")) {
            std::fs::write(folder.join(weights), data).expect("its weights");
        }
    }
}

/// Weights without a pattern, in about -1 to 1.
pub fn weights(seed: u32) -> Vec<f32> {
    let level = |i: u32| ((i + 1) * seed).wrapping_mul(2_654_435_761).to_be_bytes()[0];
    (0..16 * 3 * SIDE * SIDE).map(|i| f32::from(level(i)) / 127.5 - 1.0).collect()
}

/// A folder with pictures and a pipeline file.
pub struct Project(pub tempfile::TempDir);

impl Project {
    /// `images` pictures without a pattern, with levels up to `brightest`.
    pub fn new(images: u32, brightest: u8) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("pics")).expect("a folder");
        let project = Self(folder);
        (0..images).for_each(|image| project.picture(image, brightest));
        project
    }

    pub fn picture(&self, image: u32, brightest: u8) {
        let pixels: Vec<u8> = levels(image).into_iter().map(|level| level.min(brightest)).collect();
        let picture = image::RgbImage::from_raw(SIDE, SIDE, pixels).expect("a picture");
        picture.save(self.path(&format!("pics/{image:03}.png"))).expect("it is written");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes the model and a file that runs it, with these lines for the embedder and for the
    /// step.
    pub fn with(&self, net: &Net, embedder: &str, step: &str) -> String {
        std::fs::write(self.path("m.onnx"), net.bytes()).expect("a model");
        self.file(&format!("model = \"m.onnx\"\nresize = 8\n{embedder}"), step)
    }

    pub fn file(&self, embedder: &str, step: &str) -> String {
        let path = self.path("p.toml");
        let text = format!(
            "[sources.a]\nfolder = \"pics\"\n[embedders.m]\n{embedder}\n[steps.ingest]\nmin_side = 8\n[steps.embed]\n{step}\n"
        );
        std::fs::write(&path, text).expect("a pipeline file");
        path.to_string_lossy().into_owned()
    }

    /// The vectors that a run gave, in the order of the images.
    pub fn vectors(&self) -> Vec<Vec<f32>> {
        let mut vectors = Vec::new();
        for part in parquet_files(&self.path("work/embed/m")) {
            for block in lvd_io::vectors::read(&(&part).into()).expect("a part") {
                let block = block.expect("vectors");
                vectors.extend(block.values.chunks(block.dimension).map(<[f32]>::to_vec));
            }
        }
        vectors
    }
}

/// The bytes of picture `image`: R, G, B of each pixel in turn.
pub fn levels(image: u32) -> Vec<u8> {
    (0..3 * SIDE * SIDE).map(|i| (i + 1000 * image + 7).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

/// The bytes of a picture channel by channel.
pub fn planes(image: u32) -> Vec<u8> {
    let levels = levels(image);
    (0..3).flat_map(|channel| levels.iter().skip(channel).step_by(3).copied().collect::<Vec<_>>()).collect()
}

pub fn unit(values: impl Iterator<Item = f32>) -> Vec<f32> {
    let values: Vec<f32> = values.collect();
    let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt();
    values.iter().map(|x| x / norm).collect()
}

#[track_caller]
pub fn assert_vectors(got: &[Vec<f32>], expected: &[Vec<f32>]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got.len(), expected.len());
        let most = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most < 1e-3, "off by {most}");
    }
}
