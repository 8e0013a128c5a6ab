//! Pixels as a model takes them, and its answers as `f32`.
//!
//! Callers give pixels as images x 3 x h x w in `f32`; a model may want the colours last, half
//! precision or bytes.

use std::borrow::Cow;

use half::f16;
use ort::session::SessionInputValue;
use ort::value::{DynValue, Tensor, TensorElementType, TensorRef};

use super::port::Port;

/// The numbers in which a model takes pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Single,
    Half,
    Byte,
}

/// How a model takes pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake {
    element: Element,
    channels_last: bool,
}

impl Intake {
    /// What an input declares; `None` for one that takes no pictures.
    pub fn of(port: &Port) -> Option<Self> {
        let element = match port.element.as_str() {
            "f32" => Element::Single,
            "f16" => Element::Half,
            "u8" => Element::Byte,
            _ => return None,
        };
        let [_, second, _, last] = *port.shape.as_slice() else { return None };
        Some(Self { element, channels_last: last == Some(3) && second != Some(3) })
    }

    /// Whether it takes levels from 0 to 255 as they are.
    pub fn is_bytes(self) -> bool {
        self.element == Element::Byte
    }

    /// The shape of a batch of `[images, channels, height, width]`.
    pub fn shape(self, [images, channels, height, width]: [usize; 4]) -> [usize; 4] {
        if self.channels_last { [images, height, width, channels] } else { [images, channels, height, width] }
    }

    /// A batch of shape `[images, channels, height, width]` as the model's input.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "levels; `as` keeps them from 0 to 255"
    )]
    pub fn tensor(self, batch: &[f32], shape: [usize; 4]) -> ort::Result<SessionInputValue<'_>> {
        let pixels = if self.channels_last { Cow::Owned(channels_last(batch, shape)) } else { Cow::Borrowed(batch) };
        let shape = self.shape(shape);
        Ok(match (self.element, pixels) {
            (Element::Single, Cow::Borrowed(batch)) => TensorRef::from_array_view((shape, batch))?.into(),
            (Element::Single, Cow::Owned(batch)) => Tensor::from_array((shape, batch))?.into(),
            (Element::Half, pixels) => {
                let halves: Vec<f16> = pixels.iter().map(|&value| f16::from_f32(value)).collect();
                Tensor::from_array((shape, halves))?.into()
            }
            (Element::Byte, pixels) => {
                let bytes: Vec<u8> = pixels.iter().map(|value| value.round() as u8).collect();
                Tensor::from_array((shape, bytes))?.into()
            }
        })
    }
}

/// The same pixels with the channels of each together.
fn channels_last(batch: &[f32], [_, channels, height, width]: [usize; 4]) -> Vec<f32> {
    let plane = height * width;
    let images = batch.chunks_exact((channels * plane).max(1));
    images
        .flat_map(|image| (0..plane).flat_map(move |pixel| (0..channels).map(move |c| image[c * plane + pixel])))
        .collect()
}

/// An answer: the length of each side, and its numbers, row-major.
pub type Numbers<'a> = (Vec<usize>, Cow<'a, [f32]>);

/// The sizes and the numbers of an answer; `None` for one that holds no floats.
#[expect(clippy::cast_possible_truncation, reason = "vectors are kept in half precision")]
pub fn numbers(answer: &DynValue) -> ort::Result<Option<Numbers<'_>>> {
    let sizes = |shape: &[i64]| shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    Ok(match answer.dtype().tensor_type() {
        Some(TensorElementType::Float32) => {
            let (shape, values) = answer.try_extract_tensor::<f32>()?;
            Some((sizes(shape), Cow::Borrowed(values)))
        }
        Some(TensorElementType::Float16) => {
            let (shape, values) = answer.try_extract_tensor::<f16>()?;
            Some((sizes(shape), values.iter().map(|value| value.to_f32()).collect()))
        }
        Some(TensorElementType::Float64) => {
            let (shape, values) = answer.try_extract_tensor::<f64>()?;
            Some((sizes(shape), values.iter().map(|&value| value as f32).collect()))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(element: &str, shape: [Option<usize>; 4]) -> Port {
        Port { name: "x".into(), shape: shape.into(), element: element.into() }
    }

    #[test]
    fn colours_are_last_where_only_the_last_side_is_three() {
        let last = |shape| Intake::of(&port("f32", shape)).map(|intake| intake.channels_last);
        assert_eq!(last([None, Some(32), Some(32), Some(3)]), Some(true));
        assert_eq!(last([None, None, None, Some(3)]), Some(true));
        assert_eq!(last([None, Some(3), Some(32), Some(32)]), Some(false));
        assert_eq!(last([None, Some(3), Some(3), Some(3)]), Some(false));
        assert_eq!(last([None; 4]), Some(false));
        assert_eq!(Intake::of(&port("i64", [None; 4])), None);
    }

    #[test]
    fn each_pixel_keeps_its_colours() {
        let batch: Vec<f32> = (0..12_u8).map(f32::from).collect();
        assert_eq!(channels_last(&batch, [2, 3, 1, 2]), [0., 2., 4., 1., 3., 5., 6., 8., 10., 7., 9., 11.]);
    }
}
