//! The full texts of the errors for typical mistakes, as their reader sees them: `tests/mistakes.txt`.
//!
//! `CHAINRULE_WRITE=1 cargo test --test mistakes` rewrites the file; read the difference before it is committed.

use chainrule::loss::{binary_cross_entropy, cross_entropy, ctc_loss, hinge_embedding_loss, mse_loss};
use chainrule::{DType, Error, Fault, Parameter, Tensor, jvp, no_grad};

type Mistake = (&'static str, fn() -> Option<Error>);

/// What a person does, and the error that comes of it.
const MISTAKES: &[Mistake] = &[
    ("A matrix product whose inner sizes differ", || {
        let weight = Parameter::new(Tensor::zeros([512, 2048]));
        weight.set_name("encoder.layers.2.fc1.weight");
        of(Tensor::zeros([32, 511]).matmul(&weight))
    }),
    ("A weight that should have been transposed, by its name", || {
        let weight = Parameter::new(Tensor::zeros([10, 64]));
        weight.set_name("head.weight");
        of(Tensor::zeros([8, 10]).matmul(&weight.transpose(0, 1)))
    }),
    ("Shapes that do not broadcast", || of(Tensor::zeros([2, 3]) + Tensor::zeros([2, 4]))),
    ("An axis that is not there", || of(Tensor::zeros([2, 3]).sum_over(2))),
    ("The same axis twice", || of(Tensor::zeros([2, 3]).sum_over([1, -1]))),
    ("A reshape that loses elements", || of(Tensor::zeros([3, 4]).reshape([5, 2]))),
    ("A reshape with two unknown sizes", || of(Tensor::zeros([3, 4]).reshape([-1, -1]))),
    ("A slice with more indices than axes", || of(Tensor::zeros([3]).slice((0, 1)))),
    ("A position that is not there", || of(Tensor::zeros([3]).slice(3))),
    ("Tensors of different sizes joined", || of(Tensor::cat(&[Tensor::zeros([2, 3]), Tensor::zeros([2, 4])], 0))),
    ("Nothing joined", || of(Tensor::cat::<Tensor>(&[], 0))),
    ("Numbers that do not fill the shape", || Tensor::from_vec(vec![1.0f32; 5], [2, 3]).err()),
    ("More axes than there may be", || of(Tensor::zeros([1; 9]))),
    ("A signal's length that its spectrum does not have", || of(Tensor::zeros([2, 5, 2]).irfft(1, 10))),
    ("A spectrum taken for numbers", || of(Tensor::zeros([3, 4]).fft(0))),
    ("Absurd sizes", || of(Tensor::zeros([1usize << 40, 1 << 40]))),
    ("One number read from several", || Tensor::zeros([2, 3]).item().err()),
    ("Sizes read that are not there", || Tensor::zeros([2, 3]).dims::<3>().err()),
    ("backward from several numbers", || {
        let x = Tensor::from([1.0, 2.0]).variable();
        (&x * 2.0).backward().err()
    }),
    ("backward where nothing wants a gradient", || Tensor::from([1.0]).sum().backward().err()),
    ("backward of what was computed under no_grad", || {
        let x = Tensor::from([1.0]).variable();
        no_grad(|| x.sum()).backward().err()
    }),
    ("backward a second time", || {
        let x = Tensor::from([3.0]).variable();
        let loss = (&x * &x).sum();
        loss.backward().and_then(|_| loss.backward()).err()
    }),
    ("The gradient of a tensor that took no part", || {
        let (x, other) = (Tensor::from([1.0]).variable(), Tensor::from([1.0]).variable());
        (&x * 2.0).sum().backward().and_then(|gradients| gradients.of(&other).cloned()).err()
    }),
    ("The gradient of a position", || {
        let x = Tensor::from([1.0, 2.0]).variable();
        x.argmax().backward().err()
    }),
    ("The largest of nothing", || of(Tensor::zeros([0]).max())),
    ("A division of integers by zero", || of(Tensor::from([1, 2]).floor_divide(Tensor::from([1, 0])))),
    ("Two element types in a matrix product", || {
        of(Tensor::zeros([2, 2]).matmul(&Tensor::zeros([2, 2]).to_dtype(DType::F64)))
    }),
    ("Class numbers that are floats", || of(cross_entropy(&Tensor::zeros([2, 3]), &Tensor::from([0.0, 2.0])))),
    ("Class numbers as a column", || of(cross_entropy(&Tensor::zeros([2, 3]), &Tensor::from([[0], [2]])))),
    ("Classes along the last axis", || {
        of(cross_entropy(&Tensor::zeros([2, 4, 3]), &Tensor::zeros([2, 4]).to_dtype(DType::I64)))
    }),
    ("A class that the model does not have", || of(cross_entropy(&Tensor::zeros([2, 3]), &Tensor::from([0, 3])))),
    ("A column of predictions beside a row of targets", || of(mse_loss(&Tensor::zeros([4, 1]), &Tensor::zeros([4])))),
    ("Scores where probabilities are needed", || {
        of(binary_cross_entropy(&Tensor::from([0.5, 3.0]), &Tensor::from([0.0, 1.0])))
    }),
    ("Targets 0 and 1 where 1 and -1 are needed", || {
        of(hinge_embedding_loss(&Tensor::from([0.5, 3.0]), &Tensor::from([1.0, 0.0])))
    }),
    ("A target that contains the blank", || {
        let (logits, targets) = (Tensor::zeros([5, 1, 3]), Tensor::from([[1, 0]]));
        of(ctc_loss(&logits, &targets, &Tensor::from([5]), &Tensor::from([2])))
    }),
    ("A direction of another shape", || {
        jvp(|x| x[0].sum(), &[&Tensor::zeros([2])], &[&Tensor::zeros([3])]).map(|(y, _)| y).err()
    }),
    ("An error that happened long before", || {
        let loaded = Tensor::failed(Error::new("load", Fault::value("the file has no rows", "check the path")));
        of(((loaded * 2.0).exp() + 1.0).sum())
    }),
];

/// The numbers of lines change with this file.
fn without_lines(text: &str) -> String {
    let mut parts = text.split("mistakes.rs:");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        out.push_str("mistakes.rs:(the line)");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

fn of(tensor: Tensor) -> Option<Error> {
    tensor.error().cloned()
}

#[test]
fn the_texts_of_typical_mistakes() {
    let mut texts = String::new();
    for (mistake, make) in MISTAKES {
        let error = make().unwrap_or_else(|| panic!("{mistake}: there is no error"));
        assert!(error.location().file().ends_with("mistakes.rs"), "{mistake}: points to {:?}", error.location());
        assert!(!error.help().is_empty(), "{mistake}: does not say how to mend it");
        texts.push_str(&format!("# {mistake}\n{}\n\n", without_lines(&error.to_string().replace('\\', "/"))));
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes.txt");
    if std::env::var_os("CHAINRULE_WRITE").is_some_and(|value| value == "1") {
        std::fs::write(&path, &texts).expect("the file can be written");
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    for (now, before) in texts.split("# ").zip(committed.split("# ")) {
        assert_eq!(now, before, "an error reads otherwise: CHAINRULE_WRITE=1 cargo test --test mistakes rewrites them");
    }
    assert_eq!(texts.len(), committed.len(), "the file has other mistakes");
}
