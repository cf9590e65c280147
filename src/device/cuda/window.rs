//! Windows over volumes: `kernels/window.cu`.

use super::Cuda;
use super::faults::Check;
use super::lacking::lacks;
use super::launch::Launch;
use super::module::{Source, source};
use crate::device::copy::Arrange;
use crate::device::reduce::floats;
use crate::device::window::{Blend, Sliding, Span, Windows, no_place, same_shape};
use crate::device::{Device, Value};
use crate::error::Fault;
use crate::layout::{DType, Shape};

const WINDOW: Source = source!("window");

/// `struct Windows` of the kernels: six ints for each axis.
fn words(axes: [[usize; 6]; 3]) -> Result<Vec<u64>, Fault> {
    let numbers = axes.concat();
    if numbers.iter().any(|&number| number > i32::MAX as usize) {
        return Err(lacks("an axis of more than 2^31 elements"));
    }
    Ok(numbers.chunks(2).map(|pair| pair[0] as u64 | (pair[1] as u64) << 32).collect())
}

fn sliding(axis: &Sliding) -> [usize; 6] {
    let Sliding { size, count, kernel, stride, before, dilation } = *axis;
    [size, count, kernel, stride, before, dilation]
}

/// The kernels count in 32 bits.
fn countable(numbers: &[usize]) -> Result<(), Fault> {
    match numbers.iter().any(|&number| number > u32::MAX as usize) {
        true => Err(lacks("a window over more than 2^32 elements")),
        false => Ok(()),
    }
}

fn volume(x: &Value) -> usize {
    x.dims().iter().skip(2).product()
}

impl Cuda {
    fn window_kernel(self, name: &str, kind: impl std::fmt::Display) -> Result<Launch, Fault> {
        Ok(self.call(self.kernel(&WINDOW, &format!("{name}_{kind}"))?))
    }
    /// Dense, and in f32 where it is narrower.
    fn widened(self, x: &Value, what: &str) -> Result<Value, Fault> {
        floats(x, what)?;
        let wide = if x.dtype().is_half() { self.cast(x, DType::F32)? } else { x.clone() };
        self.contiguous(&wide)
    }
    /// Positions in volumes, and the check for one that is none.
    fn places(self, positions: &Value, size: usize) -> Result<(Value, Check), Fault> {
        let places = self.contiguous(&self.cast(positions, DType::I64)?)?;
        let check = self.next_check(&places, move |position, _| no_place(position, size))?;
        Ok((places, check))
    }
}

impl Windows for Cuda {
    fn max_windows(&self, x: &Value, spans: &[Span; 3], wanted: bool) -> Result<(Value, Option<Value>), Fault> {
        floats(x, "windows")?;
        let x = self.contiguous(x)?;
        let axes = spans.each_ref().map(|span| match *span {
            Span::Sliding(axis) => sliding(&axis),
            Span::Adaptive { size, count } => [size, count, 0, 0, 0, 0],
        });
        let counts = spans.each_ref().map(Span::count);
        let shape = Shape::new(&[&x.dims()[..2], &counts[..]].concat())?;
        let evenly = axes.iter().map(|axis| axis[0].saturating_mul(axis[1])).max().unwrap_or(0);
        countable(&[shape.count(), x.count(), evenly])?;
        let out = self.blank(shape, x.dtype())?;
        let places = if wanted { Some(self.blank(shape, DType::I32)?) } else { None };
        let call = self.window_kernel("max_windows", x.dtype())?.read(&x).write(&out).option(places.as_ref());
        call.long(out.count() as i64).block(&words(axes)?).over(out.count())?;
        Ok((out, places))
    }
    fn scatter_volumes(
        &self,
        x: &Value,
        positions: &Value,
        [depth, height, width]: [usize; 3],
    ) -> Result<Value, Fault> {
        let wide = self.widened(x, "a sum at positions")?;
        same_shape(x, positions)?;
        let shape = Shape::new(&[&x.dims()[..2], &[depth, height, width]].concat())?;
        let elements = depth * height * width;
        let (places, check) = self.places(positions, elements)?;
        let out = self.full(shape, wide.dtype(), 0.0)?;
        let volumes = x.dims()[..2].iter().product::<usize>();
        let call = self.window_kernel("scatter_volumes", wide.dtype())?.read(&wide).read(&places).write(&out);
        let call = call.long(volumes as i64).long(volume(x) as i64).long(elements as i64).write(&check.word);
        call.long(check.number).over(volumes)?;
        self.cast(&out, x.dtype())
    }
    fn pick_volumes(&self, x: &Value, positions: &Value) -> Result<Value, Fault> {
        let (x, elements) = (self.contiguous(x)?, volume(x));
        let (places, check) = self.places(positions, elements)?;
        let out = self.blank(*positions.shape(), x.dtype())?;
        let call = self.window_kernel("pick_volumes", x.dtype().size())?.read(&x).read(&places).write(&out);
        let call =
            call.long(out.count() as i64).long(volume(positions) as i64).long(elements as i64).write(&check.word);
        call.long(check.number).over(out.count())?;
        Ok(out)
    }
    fn blend_volumes(&self, x: &Value, blends: [&Blend; 3]) -> Result<Value, Fault> {
        floats(x, "weighted sums")?;
        let mut blended = self.contiguous(&self.cast(x, DType::F64)?)?;
        for (axis, blend) in blends.into_iter().enumerate().filter(|(_, blend)| !blend.is_identity()) {
            let axis = axis + 2;
            let mut sizes = blended.dims().to_vec();
            let inner = sizes[axis + 1..].iter().product::<usize>();
            sizes[axis] = blend.count();
            let (mut starts, mut places, mut weights) = (vec![0i64], Vec::new(), Vec::new());
            for output in 0..blend.count() {
                for &(place, weight) in blend.terms(output) {
                    places.push(place as i64);
                    weights.push(weight);
                }
                starts.push(places.len() as i64);
            }
            let list = |numbers: &[i64]| {
                let here = Value::build::<i64>(Shape::new(&[numbers.len()])?, |out| out.copy_from_slice(numbers))?;
                here.to(Device::Cuda(*self))
            };
            let (starts, places) = (list(&starts)?, list(&places)?);
            let weights = Value::build::<f64>(Shape::new(&[weights.len()])?, |out| out.copy_from_slice(&weights))?;
            let weights = weights.to(Device::Cuda(*self))?;
            let out = self.blank(Shape::new(&sizes)?, DType::F64)?;
            let call = self.window_kernel("blend", "f64")?.read(&blended).write(&out).read(&starts).read(&places);
            let call = call.read(&weights).long(out.count() as i64).long(blend.size() as i64);
            call.long(blend.count() as i64).long(inner as i64).over(out.count())?;
            blended = out;
        }
        self.cast(&blended, x.dtype())
    }
    fn unfold_volumes(&self, x: &Value, windows: &[Sliding; 3]) -> Result<Value, Fault> {
        let x = self.contiguous(x)?;
        let of = |size: fn(&Sliding) -> usize| windows.iter().map(size).product::<usize>();
        let (taps, counts) = (of(|axis| axis.kernel), of(|axis| axis.count));
        let out = self.blank(Shape::new(&[x.dims()[0], x.dims()[1] * taps, counts])?, x.dtype())?;
        countable(&[out.count(), x.count()])?;
        let call = self.window_kernel("unfold", x.dtype().size())?.read(&x).write(&out).long(out.count() as i64);
        call.block(&words(windows.each_ref().map(sliding))?).over(out.count())?;
        Ok(out)
    }
    fn fold_volumes(&self, columns: &Value, windows: &[Sliding; 3]) -> Result<Value, Fault> {
        let wide = self.widened(columns, "a sum of columns")?;
        let &[batch, rows, _] = columns.dims() else {
            return Err(Fault::defect(format!("columns of {:?}", columns.dims())));
        };
        let taps = windows.iter().map(|axis| axis.kernel).product::<usize>();
        let [depth, height, width] = windows.each_ref().map(|axis| axis.size);
        let out = self.blank(Shape::new(&[batch, rows / taps.max(1), depth, height, width])?, wide.dtype())?;
        countable(&[out.count(), wide.count()])?;
        let call = self.window_kernel("fold", wide.dtype())?.read(&wide).write(&out).long(out.count() as i64);
        call.block(&words(windows.each_ref().map(sliding))?).over(out.count())?;
        self.cast(&out, columns.dtype())
    }
}
