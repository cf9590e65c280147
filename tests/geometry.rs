//! Every small geometry of a convolution: sizes, kernels, strides, paddings and dilations in all combinations, those too in which
//! windows see nothing but padding.

use chainrule::{Conv, Pad, Random, Result, Tensor, step};

/// One geometry of one axis.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    size: isize,
    kernel: isize,
    stride: isize,
    padding: isize,
    dilation: isize,
}

impl Geometry {
    fn all() -> impl Iterator<Item = Geometry> {
        (0..5 * 3 * 3 * 4 * 3).map(|number: isize| Geometry {
            size: 1 + number % 5,
            kernel: 1 + number / 5 % 3,
            stride: 1 + number / 15 % 3,
            padding: number / 45 % 4,
            dilation: 1 + number / 180,
        })
    }
    fn outputs(&self) -> Option<isize> {
        let room = self.size + 2 * self.padding - self.dilation * (self.kernel - 1) - 1;
        (room >= 0).then_some(room / self.stride + 1)
    }
    fn conv(&self) -> Conv {
        Conv::new().stride(self.stride).padding(self.padding).dilation(self.dilation)
    }
    /// The sum over taps, each a product of matrices with what it sees of the padded input.
    fn definition(&self, x: &Tensor, weight: &Tensor, outputs: isize) -> Tensor {
        let x = x.pad(&[(self.padding, self.padding)], Pad::Zeros);
        let seen = |tap: isize| {
            let first = tap * self.dilation;
            let seen = x.slice((.., .., step(first..first + (outputs - 1) * self.stride + 1, self.stride)));
            weight.slice((.., .., tap)).matmul(&seen)
        };
        (1..self.kernel).fold(seen(0), |sum, tap| sum + seen(tap))
    }
}

/// A convolution and both of its gradients, for what arrives.
fn all_of(y: &Tensor, arriving: &Tensor, of: [&Tensor; 2]) -> Result<[Tensor; 3]> {
    let gradients = (y * arriving).sum().backward()?;
    Ok([y.detach(), gradients.of(of[0])?.clone(), gradients.of(of[1])?.clone()])
}

fn check(channels: [usize; 2], along: fn(&Tensor, &Tensor, Geometry) -> Tensor) -> Result<()> {
    let mut random = Random::new(3);
    for geometry in Geometry::all() {
        let Some(outputs) = geometry.outputs() else { continue };
        let [size, kernel] = [geometry.size, geometry.kernel].map(|number| number as usize);
        let x = Tensor::normal([2, channels[0], size], 0.0, 1.0, &mut random).variable();
        let weight = Tensor::normal([channels[1], channels[0], kernel], 0.0, 1.0, &mut random).variable();
        let arriving = Tensor::normal([2, channels[1], outputs as usize], 0.0, 1.0, &mut random);
        let got = all_of(&along(&x, &weight, geometry), &arriving, [&x, &weight])?;
        let wanted = all_of(&geometry.definition(&x, &weight, outputs), &arriving, [&x, &weight])?;
        for (what, (got, wanted)) in
            ["result", "gradient of x", "gradient of the weight"].iter().zip(got.iter().zip(&wanted))
        {
            assert_eq!(got.shape()?, wanted.shape()?, "{what} of {channels:?} {geometry:?}");
            let off = (got - wanted).abs().to_vec::<f32>()?.into_iter().fold(0.0, f32::max);
            assert!(off < 1e-5, "{what} of {channels:?} {geometry:?} is off by {off}");
        }
    }
    Ok(())
}

#[test]
fn along_the_last_axis() -> Result<()> {
    for channels in [[1, 1], [5, 1], [1, 6], [5, 6]] {
        check(channels, |x, weight, geometry| x.conv1d(weight, None, geometry.conv()))?;
    }
    Ok(())
}

#[test]
fn along_the_height() -> Result<()> {
    for channels in [[1, 1], [5, 6]] {
        // The width has one element, one tap and no padding.
        check(channels, |x, weight, geometry| {
            let Geometry { stride, padding, dilation, .. } = geometry;
            let conv = Conv::new().stride([stride, 2]).padding([padding, 0]).dilation([dilation, 1]);
            x.unsqueeze(3).conv2d(&weight.unsqueeze(3), None, conv).squeeze_axes(3)
        })?;
    }
    Ok(())
}

#[test]
fn the_transposed_one_is_the_gradient() -> Result<()> {
    let mut random = Random::new(4);
    for geometry in Geometry::all() {
        // Its size is that of the least input which has so many outputs.
        let Some(outputs) =
            geometry.outputs().filter(|_| geometry.padding <= geometry.dilation * (geometry.kernel - 1))
        else {
            continue;
        };
        let covered =
            (outputs - 1) * geometry.stride + geometry.dilation * (geometry.kernel - 1) + 1 - 2 * geometry.padding;
        if covered != geometry.size {
            continue;
        }
        let kernel = geometry.kernel as usize;
        let weight = Tensor::normal([4, 3, kernel], 0.0, 1.0, &mut random).variable();
        let y = Tensor::normal([2, 4, outputs as usize], 0.0, 1.0, &mut random).variable();
        let arriving = Tensor::normal([2, 3, geometry.size as usize], 0.0, 1.0, &mut random);
        let got = all_of(&y.conv_transpose1d(&weight, None, geometry.conv()), &arriving, [&y, &weight])?;
        // Linear in each: ⟨Cᵀy, g⟩ = ⟨y, Cg⟩, whose slopes are the other's values.
        let x = arriving.detach().variable();
        let wanted = all_of(&geometry.definition(&x, &weight, outputs), &y.detach(), [&x, &weight])?;
        for (got, wanted) in [(&got[0], &wanted[1]), (&got[1], &wanted[0]), (&got[2], &wanted[2])] {
            let off = (got - wanted).abs().to_vec::<f32>()?.into_iter().fold(0.0, f32::max);
            assert!(off < 1e-5, "{geometry:?} is off by {off}");
        }
    }
    Ok(())
}
