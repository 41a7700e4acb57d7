//! Layers of networks as they compute once trained: norms by their running statistics, nothing dropped.

use merge_ir::tir::Layer;
use ndarray::{ArrayD, Dimension, IxDyn};

/// What a layer gives for its operands, in a tensor of the lengths `dims`.
///
/// # Errors
/// Inputs and modules of a base model have no value by themselves; places outside of an embedding's table.
pub(crate) fn layer(layer: &Layer, operands: &[&ArrayD<f64>], dims: &[usize]) -> Result<ArrayD<f64>, String> {
    Ok(match (layer, operands) {
        (Layer::Input { name }, _) => return Err(format!("the input `{name}` of a network has no value by itself")),
        (Layer::Module { name }, _) => return Err(format!("the module `{name}` of a base model has no value by itself")),
        (Layer::MatMul, [a, b]) => products(a, b, dims),
        (Layer::Conv { strides, pads, groups }, [x, kernel]) => {
            let window = Window { strides, pads: &pads.iter().map(|p| p.0).collect::<Vec<_>>() };
            convolved(x, kernel, *groups as usize, &window, dims)
        }
        (Layer::Pool { max, size, stride }, [x]) => pooled(x, *max, *size as usize, *stride, dims),
        (Layer::BatchNorm { epsilon, axis }, [x, scale, shift, mean, variance]) => {
            let epsilon = f64::from_bits(*epsilon);
            ArrayD::from_shape_fn(IxDyn(dims), |at| {
                let c = at[*axis as usize];
                (x[&at] - mean[c]) / (variance[c] + epsilon).sqrt() * scale[c] + shift[c]
            })
        }
        (Layer::Dropout, [x, _]) => (*x).clone(),
        (Layer::Embedding, [x, table]) => {
            let rows = table.shape()[0];
            if let Some(place) = x.iter().find(|p| p.fract() != 0.0 || !(0.0..rows as f64).contains(*p)) {
                return Err(format!("an embedding of {rows} rows has no row {place}"));
            }
            ArrayD::from_shape_fn(IxDyn(dims), |at| {
                let (place, front) = at.slice().split_last().expect("an embedding gives at least one axis");
                table[[x[IxDyn(front)] as usize, *place]]
            })
        }
        (layer, operands) => return Err(format!("`{}` of {} operands", layer.name(), operands.len())),
    })
}

/// Matrix by matrix: the leading axes agree.
fn products(a: &ArrayD<f64>, b: &ArrayD<f64>, dims: &[usize]) -> ArrayD<f64> {
    let batch = dims.len() - 2;
    ArrayD::from_shape_fn(IxDyn(dims), |at| {
        let at = at.slice();
        let of = |row: usize, column: usize| -> Vec<usize> { at[..batch].iter().copied().chain([row, column]).collect() };
        (0..a.shape()[batch + 1]).map(|k| a[IxDyn(&of(at[batch], k))] * b[IxDyn(&of(k, at[batch + 1]))]).sum()
    })
}

/// How windows lie on the last axes.
struct Window<'a> {
    strides: &'a [u64],
    /// In front of each axis.
    pads: &'a [u64],
}

impl Window<'_> {
    /// The place in the input under entry `offset` of window `at`, if it is not padding.
    fn place(&self, axis: usize, at: usize, offset: usize, length: usize) -> Option<usize> {
        (at * self.strides[axis] as usize + offset).checked_sub(self.pads[axis] as usize).filter(|p| *p < length)
    }
}

/// `[.., c, spatial..]` with a kernel `[f, c / groups, sizes..]`.
fn convolved(x: &ArrayD<f64>, kernel: &ArrayD<f64>, groups: usize, window: &Window<'_>, dims: &[usize]) -> ArrayD<f64> {
    let axes = window.strides.len();
    let channel = dims.len() - axes - 1;
    let filters = kernel.shape()[0] / groups;
    let offsets: Vec<Vec<usize>> =
        ndarray::indices(IxDyn(&kernel.shape()[1..])).into_iter().map(|o| o.slice().to_vec()).collect();
    ArrayD::from_shape_fn(IxDyn(dims), |at| {
        let at = at.slice();
        let group = at[channel] / filters;
        let mut sum = 0.0;
        for offset in &offsets {
            let mut place = at.to_vec();
            place[channel] = group * kernel.shape()[1] + offset[0];
            let inside = (0..axes).all(|axis| {
                let of = channel + 1 + axis;
                match window.place(axis, at[of], offset[1 + axis], x.shape()[of]) {
                    Some(p) => {
                        place[of] = p;
                        true
                    }
                    None => false,
                }
            });
            if inside {
                let weight: Vec<usize> = [at[channel]].into_iter().chain(offset.iter().copied()).collect();
                sum += x[IxDyn(&place)] * kernel[IxDyn(&weight)];
            }
        }
        sum
    })
}

/// The largest entry or the mean of windows over the last two axes.
fn pooled(x: &ArrayD<f64>, max: bool, size: usize, stride: u64, dims: &[usize]) -> ArrayD<f64> {
    let last = dims.len() - 1;
    ArrayD::from_shape_fn(IxDyn(dims), |at| {
        let entries = (0..size * size).map(|o| {
            let mut place = at.slice().to_vec();
            place[last - 1] = place[last - 1] * stride as usize + o / size;
            place[last] = place[last] * stride as usize + o % size;
            x[IxDyn(&place)]
        });
        if max {
            entries.fold(f64::NEG_INFINITY, |m, e| if e.is_nan() || m.is_nan() { f64::NAN } else { m.max(e) })
        } else {
            entries.sum::<f64>() / (size * size) as f64
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn array(dims: &[usize], entries: &[f64]) -> ArrayD<f64> {
        ArrayD::from_shape_vec(IxDyn(dims), entries.to_vec()).unwrap()
    }

    fn counted(dims: &[usize]) -> ArrayD<f64> {
        let n = dims.iter().product::<usize>();
        array(dims, &(0..n).map(|i| i as f64).collect::<Vec<_>>())
    }

    fn conv(strides: &[u64], pads: &[(u64, u64)], groups: u64) -> Layer {
        Layer::Conv { strides: Rc::from(strides), pads: Rc::from(pads), groups }
    }

    #[test]
    fn a_convolution_is_a_sum_over_its_window() {
        // numpy: x = arange(9).reshape(1, 3, 3), w = [[[[1, 2], [3, 4]]]], zeros around it where it is padded.
        let (x, w) = (counted(&[1, 3, 3]), array(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]));
        let plain = layer(&conv(&[1, 1], &[(0, 0), (0, 0)], 1), &[&x, &w], &[1, 2, 2]).unwrap();
        assert_eq!(plain, array(&[1, 2, 2], &[27.0, 37.0, 57.0, 67.0]));
        let padded = layer(&conv(&[1, 1], &[(0, 1), (0, 1)], 1), &[&x, &w], &[1, 3, 3]).unwrap();
        assert_eq!(padded, array(&[1, 3, 3], &[27.0, 37.0, 17.0, 57.0, 67.0, 29.0, 20.0, 23.0, 8.0]));
        let wide = layer(&conv(&[2, 2], &[(1, 0), (1, 0)], 1), &[&x, &w], &[1, 2, 2]).unwrap();
        assert_eq!(wide, array(&[1, 2, 2], &[0.0, 11.0, 30.0, 67.0]));
    }

    #[test]
    fn groups_see_their_own_channels_and_batches_are_apart() {
        let x = array(&[2, 2, 3], &[1.0, 2.0, 3.0, 10.0, 20.0, 30.0, 4.0, 5.0, 6.0, 40.0, 50.0, 60.0]);
        let w = array(&[2, 1, 2], &[1.0, -1.0, 2.0, 1.0]);
        let y = layer(&conv(&[1], &[(0, 0)], 2), &[&x, &w], &[2, 2, 2]).unwrap();
        assert_eq!(y, array(&[2, 2, 2], &[-1.0, -1.0, 40.0, 70.0, -1.0, -1.0, 130.0, 160.0]));
    }

    #[test]
    fn pools_take_the_largest_or_the_mean() {
        let x = counted(&[1, 4, 4]);
        let max = layer(&Layer::Pool { max: true, size: 2, stride: 2 }, &[&x], &[1, 2, 2]).unwrap();
        let mean = layer(&Layer::Pool { max: false, size: 3, stride: 1 }, &[&x], &[1, 2, 2]).unwrap();
        assert_eq!(max, array(&[1, 2, 2], &[5.0, 7.0, 13.0, 15.0]));
        assert_eq!(mean, array(&[1, 2, 2], &[5.0, 6.0, 9.0, 10.0]));
    }

    #[test]
    fn norms_use_running_statistics_and_embeddings_rows() {
        let x = array(&[2, 1, 2], &[1.0, 3.0, 5.0, 7.0]);
        let of = |a: f64, b: f64| array(&[2], &[a, b]);
        let norm = Layer::BatchNorm { epsilon: 0.0f64.to_bits(), axis: 0 };
        let y = layer(&norm, &[&x, &of(2.0, 1.0), &of(0.5, 0.0), &of(1.0, 5.0), &of(4.0, 1.0)], &[2, 1, 2]).unwrap();
        assert_eq!(y, array(&[2, 1, 2], &[0.5, 2.5, 0.0, 2.0]));
        let rows = layer(
            &Layer::Embedding,
            &[&array(&[2], &[1.0, 0.0]), &x.clone().into_shape_with_order(IxDyn(&[2, 2])).unwrap()],
            &[2, 2],
        );
        assert_eq!(rows.unwrap(), array(&[2, 2], &[5.0, 7.0, 1.0, 3.0]));
        assert!(layer(&Layer::Embedding, &[&array(&[1], &[2.0]), &counted(&[2, 2])], &[1, 2]).unwrap_err().contains("no row 2"));
        assert!(layer(&Layer::Input { name: "x".into() }, &[], &[1]).unwrap_err().contains("`x`"));
    }

    #[test]
    fn products_go_matrix_by_matrix() {
        let (a, b) = (counted(&[2, 1, 2]), counted(&[2, 2, 2]));
        let y = layer(&Layer::MatMul, &[&a, &b], &[2, 1, 2]).unwrap();
        assert_eq!(y, array(&[2, 1, 2], &[2.0, 3.0, 26.0, 31.0]));
    }
}
