//! What a model takes and gives, as its file declares it.

use ort::value::{Outlet, ValueType};

/// An input or an output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name in the graph.
    pub name: String,
    /// Its dimensions, `None` where the model leaves one open; empty for what is no tensor.
    pub shape: Vec<Option<usize>>,
    /// Its element type: "f32", ...; "sequence", "map" or "optional" for what is no tensor.
    pub element: String,
}

impl Port {
    pub(super) fn new(outlet: &Outlet) -> Self {
        let (shape, element) = match outlet.dtype() {
            ValueType::Tensor { ty, shape, .. } => {
                (shape.iter().map(|&size| usize::try_from(size).ok()).collect(), ty.to_string())
            }
            ValueType::Sequence(_) => (Vec::new(), "sequence".into()),
            ValueType::Map { .. } => (Vec::new(), "map".into()),
            ValueType::Optional(_) => (Vec::new(), "optional".into()),
        };
        Self { name: outlet.name().to_string(), shape, element }
    }

    /// Numbers a vector, where this output declares them.
    #[must_use]
    pub fn vector_length(&self) -> Option<usize> {
        match *self.shape.as_slice() {
            [_, length] | [_, _, length] | [_, length, _, _] => length,
            _ => None,
        }
    }

    /// Whether a vector an image can come from this output, as far as it declares: floats, N x D, N
    /// x T x D or N x D x 1 x 1.
    #[must_use]
    pub fn may_give_vectors(&self) -> bool {
        let shaped = match *self.shape.as_slice() {
            [] | [_, _] | [_, _, _] => true,
            [_, _, height, width] => height.is_none_or(|side| side == 1) && width.is_none_or(|side| side == 1),
            _ => false,
        };
        let floats = matches!(self.element.as_str(), "f32" | "f16" | "f64");
        floats && shaped && self.vector_length() != Some(1)
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sizes = self.shape.iter().map(|size| size.map_or("?".to_string(), |size| size.to_string()));
        let sizes = sizes.collect::<Vec<_>>().join("x");
        write!(f, "{} ({}{}{sizes})", self.name, self.element, if sizes.is_empty() { "" } else { " " })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_from_floats_an_image_of_more_than_one_number() {
        let gives = |element: &str, shape: &[Option<usize>]| {
            Port { name: "y".into(), shape: shape.into(), element: element.into() }.may_give_vectors()
        };
        for shape in
            [&[][..], &[None, Some(16)], &[None, None], &[None, Some(9), Some(16)], &[None, Some(2), None, Some(1)]]
        {
            assert!(["f32", "f16", "f64"].iter().all(|element| gives(element, shape)), "{shape:?}");
            assert!(!gives("i64", shape) && !gives("sequence", shape), "{shape:?}");
        }
        for shape in [&[None][..], &[None, Some(1)], &[None, Some(12), Some(8), Some(8)], &[None; 5]] {
            assert!(!gives("f32", shape), "{shape:?}");
        }
    }
}
