//! A server answers from many threads: public types may go to other threads, and every thread computes the same bytes.

use chainrule::{Random, Tensor, no_grad, threads};

#[test]
fn public_types_are_send_and_sync() {
    fn both<T: Send + Sync>() {}
    both::<chainrule::Tensor>();
    both::<chainrule::Value>();
    both::<chainrule::Parameter>();
    both::<chainrule::Gradients>();
    both::<chainrule::Recording>();
    both::<chainrule::Step>();
    both::<chainrule::State>();
    both::<chainrule::Cut>();
    both::<chainrule::Error>();
    both::<chainrule::Fault>();
    both::<chainrule::ErrorKind>();
    both::<chainrule::Operand>();
    both::<chainrule::Device>();
    both::<chainrule::DType>();
    both::<chainrule::Shape>();
    both::<chainrule::Layout>();
    both::<chainrule::Random>();
    both::<chainrule::Draw>();
    both::<chainrule::Profile>();
    both::<chainrule::device::Buffer>();
    both::<chainrule::device::Memory>();
    both::<chainrule::device::OperationProfile>();
    both::<chainrule::device::SimdLevel>();
    both::<chainrule::GradientCheck>();
    both::<chainrule::Attention>();
    both::<chainrule::Conv>();
    both::<chainrule::Pad>();
    both::<chainrule::Unique>();
    both::<Box<dyn chainrule::op::Op>>();
}

/// A small model: a matrix product, a curve, a softmax of sorts, a sum.
struct Model {
    first: Tensor,
    second: Tensor,
}

impl Model {
    fn new() -> Model {
        let mut random = Random::new(3);
        Model {
            first: Tensor::normal([64, 200], 0.0, 0.1, &mut random).variable(),
            second: Tensor::normal([200, 10], 0.0, 0.1, &mut random).variable(),
        }
    }
    fn answer(&self, x: &Tensor) -> Vec<u32> {
        let hidden = x.matmul(&self.first).exp();
        let scores = hidden.matmul(&self.second).exp();
        let shares = &scores / scores.sum_keep(-1);
        shares.to_vec::<f32>().expect("numbers").into_iter().map(f32::to_bits).collect()
    }
}

#[test]
fn eight_threads_answer_the_same_bytes() {
    let model = Model::new();
    let before = model.first.to_vec::<f32>().expect("numbers");
    let x = Tensor::normal([100, 64], 0.0, 1.0, &mut Random::new(4));
    let expected = threads(1, || no_grad(|| model.answer(&x)));
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (model, x, expected) = (&model, &x, &expected);
            scope.spawn(move || {
                for _ in 0..10 {
                    // With and without a scope of one's own, on one thread and on several.
                    let answer = match worker % 4 {
                        0 => model.answer(x),
                        1 => no_grad(|| model.answer(x)),
                        2 => threads(1, || model.answer(x)),
                        _ => threads(3, || no_grad(|| model.answer(x))),
                    };
                    assert!(&answer == expected, "worker {worker}");
                }
            });
        }
    });
    assert_eq!(model.first.to_vec::<f32>().expect("numbers"), before);
}

#[test]
fn tensors_and_graphs_may_go_to_another_thread() {
    let model = Model::new();
    let x = Tensor::ones([4, 64]);
    let loss = x.matmul(&model.first).matmul(&model.second).sum();
    let here = x.matmul(&model.first).matmul(&model.second).sum().backward().expect("gradients");
    let first = model.first.clone();
    let there = std::thread::spawn(move || {
        let gradients = loss.backward().expect("gradients");
        gradients.of(&first).expect("its gradient").clone()
    });
    let there = there.join().expect("no panic");
    let here = here.of(&model.first).expect("its gradient");
    assert_eq!(here.to_vec::<f32>().expect("numbers"), there.to_vec::<f32>().expect("numbers"));
}
