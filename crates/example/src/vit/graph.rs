//! Builds an ONNX graph node by node: every call returns the name of the value that it made.
//!
//! No shape inference and no checks: onnxruntime does both when it loads the file.

use prost::Message;

use lvd_io::model::proto::attribute_proto::AttributeType;
use lvd_io::model::proto::tensor_proto::DataType;
use lvd_io::model::proto::tensor_shape_proto::{Dimension, dimension};
use lvd_io::model::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};

/// A matrix of weights, row-major: `rows` inputs by `columns` outputs, so that a layer is
/// `x * matrix`.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// How many inputs.
    pub rows: usize,
    /// How many outputs.
    pub columns: usize,
    /// `rows * columns` weights.
    pub data: Vec<f32>,
}

impl Matrix {
    /// The matrix whose element (row, column) is `element(row, column)`.
    #[expect(clippy::cast_possible_truncation, reason = "weights are designed in f64 and stored in f32")]
    pub fn new(rows: usize, columns: usize, element: impl Fn(usize, usize) -> f64) -> Self {
        let data = (0..rows * columns).map(|at| element(at / columns, at % columns) as f32).collect();
        Self { rows, columns, data }
    }
}

/// A setting of a node.
pub enum Setting {
    /// A number.
    Float(f32),
    /// A whole number.
    Int(i64),
    /// Whole numbers.
    Ints(Vec<i64>),
}

/// A graph in the making.
#[derive(Default)]
pub struct Graph {
    graph: GraphProto,
}

impl Graph {
    /// An empty graph called `name`, with one input of `shape`, whose first side is the open batch.
    pub fn new(name: &str, input: &str, shape: &[usize]) -> Self {
        let graph = GraphProto { name: name.into(), input: vec![value_info(input, shape)], ..Default::default() };
        Self { graph }
    }

    fn tensor(&mut self, dims: Vec<i64>, data_type: DataType, raw_data: Vec<u8>) -> String {
        let name = format!("w{}", self.graph.initializer.len());
        self.graph.initializer.push(TensorProto {
            dims,
            data_type: data_type.into(),
            name: name.clone(),
            raw_data,
            ..Default::default()
        });
        name
    }

    /// A constant of floats.
    pub fn floats(&mut self, shape: &[usize], data: &[f32]) -> String {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "shape {shape:?} against {} elements", data.len());
        self.tensor(sides(shape), DataType::Float, data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// A vector of whole numbers, for instance a shape.
    pub fn ints(&mut self, data: &[i64]) -> String {
        let count = sides(&[data.len()]);
        self.tensor(count, DataType::Int64, data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// Adds a node with one output.
    pub fn node(&mut self, operator: &str, inputs: &[&str], settings: Vec<(&str, Setting)>) -> String {
        let output = format!("{}{}", operator.to_lowercase(), self.graph.node.len());
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.clone()],
            name: output.clone(),
            op_type: operator.into(),
            attribute: settings.into_iter().map(|(name, setting)| attribute(name, setting)).collect(),
            ..Default::default()
        });
        output
    }

    /// `x * weight + bias`, over the last axis.
    pub fn linear(&mut self, x: &str, weight: &Matrix, bias: &[f32]) -> String {
        let weight = self.floats(&[weight.rows, weight.columns], &weight.data);
        let product = self.node("MatMul", &[x, &weight], vec![]);
        self.add(&product, &[bias.len()], bias)
    }

    /// `x + constant`, broadcast.
    pub fn add(&mut self, x: &str, shape: &[usize], constant: &[f32]) -> String {
        let constant = self.floats(shape, constant);
        self.node("Add", &[x, &constant], vec![])
    }

    /// `LayerNorm` over the last axis, without a gain of its own. `epsilon` is the variance below
    /// which it fades.
    pub fn layer_norm(&mut self, x: &str, width: usize, epsilon: f32) -> String {
        let gain = self.floats(&[width], &vec![1.0; width]);
        let bias = self.floats(&[width], &vec![0.0; width]);
        let settings = vec![("axis", Setting::Int(-1)), ("epsilon", Setting::Float(epsilon))];
        self.node("LayerNormalization", &[x, &gain, &bias], settings)
    }

    /// The exact GELU, x/2 (1 + erf(x/√2)): opset 17 has no operator of that name, and onnxruntime
    /// fuses these five.
    pub fn gelu(&mut self, x: &str) -> String {
        let [root, one, half] = [std::f32::consts::SQRT_2, 1.0, 0.5].map(|x| self.floats(&[], &[x]));
        let scaled = self.node("Div", &[x, &root], vec![]);
        let erf = self.node("Erf", &[&scaled], vec![]);
        let gate = self.node("Add", &[&erf, &one], vec![]);
        let gated = self.node("Mul", &[x, &gate], vec![]);
        self.node("Mul", &[&gated, &half], vec![])
    }

    /// The same elements in another shape: 0 keeps a side, -1 is worked out.
    pub fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.ints(shape);
        self.node("Reshape", &[x, &shape], vec![])
    }

    /// The axes in another order.
    pub fn transpose(&mut self, x: &str, order: &[i64]) -> String {
        self.node("Transpose", &[x], vec![("perm", Setting::Ints(order.to_vec()))])
    }

    /// Renames `value` to `output`, declares it, and gives the bytes of the model file.
    pub fn finish(mut self, value: &str, output: &str, shape: &[usize], about: &str) -> Vec<u8> {
        for name in self.graph.node.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output)) {
            if name == value {
                *name = output.into();
            }
        }
        self.graph.output.push(value_info(output, shape));
        let model = ModelProto {
            ir_version: 8,
            producer_name: "lvd".into(),
            doc_string: about.into(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
            ..Default::default()
        };
        model.encode_to_vec()
    }
}

#[expect(clippy::cast_possible_wrap, reason = "sides of small constants")]
fn sides(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&side| side as i64).collect()
}

/// A float tensor [batch, shape...].
fn value_info(name: &str, shape: &[usize]) -> ValueInfoProto {
    let fixed = sides(shape).into_iter().map(dimension::Value::DimValue);
    let lengths = std::iter::once(dimension::Value::DimParam("batch".into())).chain(fixed);
    let dim = lengths.map(|length| Dimension { value: Some(length), ..Default::default() }).collect();
    let tensor = type_proto::Tensor { elem_type: DataType::Float.into(), shape: Some(TensorShapeProto { dim }) };
    let value = Some(type_proto::Value::TensorType(tensor));
    let kind = TypeProto { value, ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
}

fn attribute(name: &str, setting: Setting) -> AttributeProto {
    let mut attribute = AttributeProto { name: name.into(), ..Default::default() };
    let kind = match setting {
        Setting::Float(f) => {
            attribute.f = f;
            AttributeType::Float
        }
        Setting::Int(i) => {
            attribute.i = i;
            AttributeType::Int
        }
        Setting::Ints(ints) => {
            attribute.ints = ints;
            AttributeType::Ints
        }
    };
    attribute.set_type(kind);
    attribute
}
