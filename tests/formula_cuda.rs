//! Formulas on a GPU: users' own, through every way of memory, and optimizers' steps in place. Each result is the processor's,
//! bit for bit. Runs on the stand-in driver; `REQUIRE_CUDA=1` runs it on the machine's own GPU.
#![cfg(all(feature = "cuda-unversioned", target_os = "linux"))]

mod emulator;

use chainrule::device::{SimdLevel, simd_level};
use chainrule::formula::{Formula, Left, Number, exp};
use chainrule::nn::{Init, Linear, Module};
use chainrule::op::pointwise;
use chainrule::optim::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Core, Ema, Group, Lion, NAdam, Optimizer, RAdam, Remember, RmsProp, Rule,
    Setting, Settings, Sgd, Target,
};
use chainrule::{DType, Device, Fault, Tensor, Value, formula, update_formula};
use emulator::call::launches;
use std::sync::atomic::{AtomicUsize, Ordering};

const FLOATS: [DType; 4] = [DType::F64, DType::F32, DType::BF16, DType::F16];

/// A helper of a user's.
fn soft<R: Number>(x: R) -> R
where
    f64: Left<R> + Left<f64>,
{
    1.0 / (1.0 + exp(-x * 1.7))
}
formula! { fn quick_gelu(x) { x * soft(x) } }
formula! { fn mixed(x, y; share) { share * tanh(x) + (1.0 - share) * erf(y) * x } }
formula! { fn logistic(x) { 1.0 / (1.0 + exp(-x)) } gradient(y) { y * (1.0 - y) } }
formula! { fn product(x, y, z) { x * y * z } gradient { y * z, x * z, x * y } }

/// Numbers of a shape, none of them round.
fn numbers(shape: &[usize], dtype: DType, device: Device) -> Tensor {
    let count: usize = shape.iter().product();
    let list: Vec<f64> = (0..count).map(|i| ((i * 7919 + 13) % 1009) as f64 / 101.0 - 5.0).collect();
    Tensor::from_vec(list, shape).unwrap().to_dtype(dtype).to(device)
}

fn gpu() -> Device {
    Device::cuda(0).unwrap_or_else(|error| panic!("{error}"))
}

/// The same bits; or nearly so where the processor does not fuse products and sums, as GPUs do.
fn same(here: &Tensor, there: &Tensor, what: &str) {
    assert_ne!(there.device().unwrap(), Device::Cpu, "{what}");
    assert_eq!(here.dtype().unwrap(), there.dtype().unwrap(), "{what}");
    assert_eq!(here.shape().unwrap(), there.shape().unwrap(), "{what}");
    let apart = match here.dtype().unwrap() {
        _ if simd_level().unwrap() > SimdLevel::Portable => 0.0,
        DType::F64 => 0.0,
        DType::BF16 => 0.01,
        DType::F16 => 0.001,
        _ => 1e-5,
    };
    let (here, there) = (here.to_vec::<f64>().unwrap(), there.to_vec::<f64>().unwrap());
    for (at, (a, b)) in here.iter().zip(&there).enumerate() {
        let near = a == b || (a - b).abs() <= apart * (1.0 + a.abs()) || a.is_nan() && b.is_nan();
        assert!(near, "{what} at {at}: {b:e}, on the CPU {a:e}");
    }
}

/// Inputs as they are, seen through views, and broadcast.
fn ways(dtype: DType, device: Device) -> Vec<(&'static str, [Tensor; 3])> {
    let dense = |seed: usize| numbers(&[3, 347], dtype, device) * (seed as f64 * 0.25);
    let square = |seed: usize| numbers(&[5, 7, 6], dtype, device) * (seed as f64 * 0.25);
    vec![
        ("dense", [dense(1), dense(2), dense(3)]),
        ("turned", [square(1).permute([2, 1, 0]), square(2).permute([2, 1, 0]), square(3).permute([2, 1, 0])]),
        ("off a multiple of 16 bytes", [1, 2, 3].map(|seed| numbers(&[1030], dtype, device).slice(seed..1025 + seed))),
        ("reversed", [square(1).flip(1), square(2), square(3).flip([0, 2])]),
        (
            "broadcast",
            [numbers(&[4, 1, 9], dtype, device), numbers(&[3, 1], dtype, device), numbers(&[], dtype, device)],
        ),
        ("none", [numbers(&[0, 3], dtype, device), numbers(&[1, 3], dtype, device), numbers(&[3], dtype, device)]),
    ]
}

#[test]
fn users_formulas_run_on_a_gpu() {
    if !emulator::inside("users_formulas_run_on_a_gpu") {
        return;
    }
    for dtype in FLOATS {
        for ((way, [x, y, z]), (_, [a, b, c])) in ways(dtype, Device::Cpu).into_iter().zip(ways(dtype, gpu())) {
            let of = |name: &str| format!("{name} in {dtype}, {way}");
            same(&quick_gelu(&x), &quick_gelu(&a), &of("quick_gelu"));
            same(&logistic(&x), &logistic(&a), &of("logistic"));
            for share in [0.25, 0.7] {
                same(&mixed(&x, &y, share), &mixed(&a, &b, share), &of("mixed"));
            }
            same(&product(&x, &y, &z), &product(&a, &b, &c), &of("product"));
            same(&x.less(&y), &a.less(&b), &of("less"));
            same(&x.less(&y).choose(&y, &z), &a.less(&b).choose(&b, &c), &of("choose"));
            same(&x.atan(), &a.atan(), &of("atan"));
        }
    }
}

#[test]
fn quotients_have_the_processors_bits() {
    if !emulator::inside("quotients_have_the_processors_bits") {
        return;
    }
    // To where the logistic function is subnormal and where it is 1; and around 0, where its divisor's digits are all set somewhere.
    let far = (0..30_000).map(|i| i as f64 * (150.0 / 30_000.0) - 106.0);
    let near = (-400..400).map(|i| i as f64 * 2f64.powi(-25));
    let tiny = (0..160).flat_map(|power| [1.0, -1.3].map(|x| x * 2f64.powi(-power)));
    let list: Vec<f64> = far.chain(near).chain(tiny).collect();
    for dtype in [DType::F32, DType::BF16] {
        let x = Tensor::from_vec(list.clone(), [list.len()]).unwrap().to_dtype(dtype);
        let a = x.to(gpu());
        for (name, here, there) in [
            ("sigmoid", x.sigmoid(), a.sigmoid()),
            ("silu", x.silu(), a.silu()),
            ("tanh", x.tanh(), a.tanh()),
            ("gelu_tanh", x.gelu_tanh(), a.gelu_tanh()),
        ] {
            same(&here, &there, &format!("{name} in {dtype}"));
        }
    }
}

/// A power whose steps a number of its own decides, which it says or not. Counts how often it is evaluated.
#[derive(Clone, Debug)]
struct Power {
    times: u32,
    says: bool,
}
static EVALUATED: AtomicUsize = AtomicUsize::new(0);

impl Formula<1> for Power {
    const NAME: &'static str = "power";
    const TEXT: &'static str = "x ...";
    fn value<R: Number>(&self, [x]: [R; 1]) -> R
    where
        f64: Left<R> + Left<f64> + Left<R::Scalar>,
    {
        EVALUATED.fetch_add(1, Ordering::Relaxed);
        (1..self.times).fold(x, |power, _| power * x)
    }
    fn parameters(&self) -> Vec<f64> {
        Vec::new()
    }
    fn form(&self) -> Option<u64> {
        self.says.then_some(self.times.into())
    }
}

#[test]
fn formulas_of_one_type_are_told_apart_and_traced_once() {
    if !emulator::inside("formulas_of_one_type_are_told_apart_and_traced_once") {
        return;
    }
    let evaluated = |says: bool| {
        let before = EVALUATED.load(Ordering::Relaxed);
        for dtype in [DType::F32, DType::F64] {
            let x = numbers(&[3, 5], dtype, Device::Cpu);
            let there = x.to(gpu());
            for times in [2, 3, 2, 4, 3, 2] {
                let power = pointwise(Power { times, says }, [&there]);
                let counted = EVALUATED.load(Ordering::Relaxed);
                same(&pointwise(Power { times, says }, [&x]), &power, &format!("a power of {times} in {dtype}"));
                // The processor evaluates it for each number.
                EVALUATED.store(counted, Ordering::Relaxed);
            }
        }
        EVALUATED.load(Ordering::Relaxed) - before
    };
    assert_eq!((evaluated(true), evaluated(false), evaluated(true)), (3, 12, 0));
    let x = numbers(&[40], DType::F64, Device::Cpu).abs() + 0.5;
    for order in [0, 1, 2, 1, 0, 3] {
        let (here, there) = (x.polygamma(order), x.to(gpu()).polygamma(order).to(Device::Cpu));
        let apart = ((here.clone() - there) / here).abs().max().item().unwrap();
        assert!(apart < 1e-12, "polygamma of order {order}: {apart:e}");
    }
}

#[test]
fn gradients_of_formulas_on_a_gpu() {
    if !emulator::inside("gradients_of_formulas_on_a_gpu") {
        return;
    }
    let slopes = |dtype: DType, device: Device| {
        let [x, y, z] = [1.0, 0.5, -0.75].map(|by| (numbers(&[5, 7, 6], dtype, device) * by).variable());
        let seen = x.permute([0, 1, 2]);
        let arriving = numbers(&[5, 7, 6], dtype, device);
        let mut all = Vec::new();
        for (name, result) in [
            ("quick_gelu", quick_gelu(&seen)),
            ("mixed", mixed(&x, &y, 0.3)),
            ("logistic", logistic(&x)),
            ("product", product(&x, &y, &z)),
            ("atan", x.atan()),
        ] {
            let gradients = result.backward_from(&arriving).unwrap();
            for (which, leaf) in [&x, &y, &z].into_iter().enumerate() {
                if let Some(gradient) = gradients.get(leaf) {
                    all.push((format!("{name}, gradient {which} in {dtype}"), gradient.clone()));
                }
            }
        }
        all
    };
    for dtype in FLOATS {
        let (here, there) = (slopes(dtype, Device::Cpu), slopes(dtype, gpu()));
        assert_eq!((here.len(), there.len()), (8, 8));
        for ((what, here), (_, there)) in here.iter().zip(&there) {
            same(here, there, what);
        }
    }
}

#[test]
fn optimizers_step_in_place_on_a_gpu() {
    if !emulator::inside("optimizers_step_in_place_on_a_gpu") {
        return;
    }
    let optimizers = || -> Vec<(&str, Box<dyn Optimizer>)> {
        vec![
            ("sgd", Box::new(Sgd::new(0.1))),
            ("sgd with momentum", Box::new(Sgd::new(0.1).with_momentum(0.9))),
            ("adam", Box::new(Adam::new(0.01))),
            ("adamw", Box::new(AdamW::new(0.01))),
            ("rmsprop", Box::new(RmsProp::new(0.01))),
            ("adagrad", Box::new(Adagrad::new(0.01))),
            ("adadelta", Box::new(Adadelta::new(0.01))),
            ("adamax", Box::new(Adamax::new(0.01))),
            ("nadam", Box::new(NAdam::new(0.01))),
            ("radam", Box::new(RAdam::new(0.01))),
            ("lion", Box::new(Lion::new(0.01))),
        ]
    };
    let trained = |dtype: DType, device: Device| {
        let mut all = Vec::new();
        for (name, mut optimizer) in optimizers() {
            let mut layer = Linear::new(67, 31, &mut Init::new().seed(7));
            layer.cast(dtype).unwrap();
            layer.to(device).unwrap();
            let before = chainrule::shared_updates();
            for _ in 0..3 {
                let bias = layer.bias.as_ref().unwrap();
                let (weights, biases) = (quick_gelu(&layer.weight), quick_gelu(bias));
                let gradients = chainrule::backward_all(&[
                    (&weights, &numbers(&[31, 67], dtype, device)),
                    (&biases, &numbers(&[31], dtype, device)),
                ])
                .unwrap();
                drop((weights, biases));
                optimizer.step(&mut layer, &gradients).unwrap();
            }
            assert_eq!(chainrule::shared_updates(), before, "{name} copied a parameter");
            all.push((format!("{name} in {dtype}, weight"), (*layer.weight).clone()));
            all.push((format!("{name} in {dtype}, bias"), (**layer.bias.as_ref().unwrap()).clone()));
        }
        all
    };
    for dtype in FLOATS {
        let (here, there) = (trained(dtype, Device::Cpu), trained(dtype, gpu()));
        for ((what, here), (_, there)) in here.iter().zip(&there) {
            same(here, there, what);
        }
    }
}

#[test]
fn whole_numbers_and_mixed_types_on_a_gpu() {
    if !emulator::inside("whole_numbers_and_mixed_types_on_a_gpu") {
        return;
    }
    let all = [DType::F64, DType::F32, DType::BF16, DType::F16, DType::I64, DType::I32, DType::U8, DType::Bool];
    let list: Vec<f64> = (0..130).map(|i| ((i * 37 + 5) % 61) as f64 - 30.0).collect();
    let edges = [i64::MIN as f64, i64::MAX as f64, 255.0, -1.0, 0.0, 1.0];
    let made = |dtype: DType, shift: usize, device: Device| {
        let mut list = list.clone();
        list.rotate_left(shift);
        if shift == 0 {
            list[..edges.len()].copy_from_slice(&edges);
        }
        // through whole numbers, which wrap
        let whole = Tensor::from_vec(list, [10, 13]).unwrap().to_dtype(DType::I64);
        whole.to_dtype(dtype).to(device)
    };
    for (a, b) in all.into_iter().flat_map(|a| all.map(|b| (a, b))) {
        let results = |device: Device| {
            let (x, y) = (made(a, 0, device), made(b, 7, device));
            let mut all = vec![
                ("x + y", &x + &y),
                ("x y", &x * &y),
                ("maximum", x.maximum(&y)),
                ("less", x.less(&y)),
                ("equal", x.equal(&y)),
                ("choose", x.less_equal(&y).choose(&x, &y)),
                ("mixed", mixed(&x, &y, 0.25)),
            ];
            if a != DType::Bool && b != DType::Bool {
                all.push(("x - y", &x - &y));
            }
            if !a.promote(b).is_float() {
                all.push(("x to the y", x.pow(&y)));
            }
            if a == b && a != DType::Bool {
                all.extend([("abs", x.abs()), ("sign", x.sign()), ("square", x.square()), ("relu", x.relu())]);
            }
            all
        };
        for ((what, here), (_, there)) in results(Device::Cpu).iter().zip(&results(gpu())) {
            same(here, there, &format!("{what} of {a} and {b}"));
        }
    }
}

#[test]
fn steps_of_many_tensors_are_few_launches() {
    if !emulator::inside("steps_of_many_tensors_are_few_launches") {
        return;
    }
    let trained = |device: Device| {
        let mut init = Init::new().seed(3);
        let mut layers: Vec<Linear> = (0..70).map(|width| Linear::new(1 + width % 9, 3, &mut init)).collect();
        layers.to(device).unwrap();
        let mut optimizer = Adam::new(0.01).with_group(Group::matching("*.bias").with(Setting::Rate, 0.5));
        let mut average = Ema::new(&layers, 0.75);
        let mut launched = 0;
        for _ in 0..2 {
            let results: Vec<Tensor> = layers
                .iter()
                .flat_map(|layer| [quick_gelu(&layer.weight), quick_gelu(layer.bias.as_ref().unwrap())])
                .collect();
            let weights: Vec<Tensor> =
                results.iter().map(|result| numbers(&result.shape().unwrap(), DType::F32, device)).collect();
            let roots: Vec<(&Tensor, &Tensor)> = results.iter().zip(&weights).collect();
            let gradients = chainrule::backward_all(&roots).unwrap();
            drop(roots);
            drop(results);
            let before = launches();
            optimizer.step(&mut layers, &gradients).unwrap();
            average.update(&layers).unwrap();
            launched = launches() - before;
        }
        let both = layers.iter().chain(average.model());
        let all: Vec<Tensor> = both.map(|layer| (*layer.weight).clone()).collect();
        (all, launched)
    };
    let ((here, _), (there, launched)) = (trained(Device::Cpu), trained(gpu()));
    for (here, there) in here.iter().zip(&there) {
        same(here, there, "a weight");
    }
    if !emulator::is_real() {
        // 140 tensors: two states each, in two groups, and then none
        assert_eq!(launched, 2 + 2);
    }
}

update_formula! {
    /// A step, and the mean of the gradients.
    fn Step(parameter, gradient; mean; rate) {
        mean = 0.5 * (mean + gradient);
        parameter = parameter - rate * gradient;
    }
}
update_formula! {
    /// Some of the mean on top.
    fn More(parameter, gradient; mean; rate) {
        parameter = parameter - rate * mean;
    }
}

/// A rule of a user's that steps twice.
#[derive(Clone, Debug)]
struct Twice(Core);

impl Rule for Twice {
    const NAME: &'static str = "twice";
    fn core(&self) -> &Core {
        &self.0
    }
    fn core_mut(&mut self) -> &mut Core {
        &mut self.0
    }
    fn remember(&self, _: &str, parameter: &Value, _: &Settings) -> Remember {
        Remember::zeros(&["mean"], parameter)
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        let rate = settings.number(Setting::Rate);
        target.apply(&Step { rate })?;
        target.apply(&More { rate })
    }
}

#[test]
fn a_second_step_sees_the_first() {
    if !emulator::inside("a_second_step_sees_the_first") {
        return;
    }
    let trained = |device: Device| {
        let mut layer = Linear::new(5, 4, &mut Init::new().seed(2));
        layer.to(device).unwrap();
        let mut optimizer = Twice(Core::new(&[(Setting::Rate, 0.1)])).with_missing();
        let result = logistic(&layer.weight);
        let gradients = result.backward_from(&numbers(&[4, 5], DType::F32, device)).unwrap();
        drop(result);
        optimizer.step(&mut layer, &gradients).unwrap();
        (*layer.weight).clone()
    };
    same(&trained(Device::Cpu), &trained(gpu()), "a weight");
}

impl Twice {
    /// The bias gets no gradient.
    fn with_missing(mut self) -> Twice {
        self.0.allow_missing();
        self
    }
}
