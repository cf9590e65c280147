//! Metrics say what scikit-learn says, however the set is cut into batches, and refuse what means nothing.

use chainrule::train::metrics::{
    Accuracy, Average, AveragePrecision, Confusion, Mean, Metric, Perplexity, Regression, RocAuc, TopK,
};
use chainrule::{ErrorKind, Result, Tensor};

// The numbers were drawn by NumPy's RandomState(7); what is expected of them was computed by scikit-learn 1.9.1 (accuracy_score,
// top_k_accuracy_score, confusion_matrix, precision_recall_fscore_support with zero_division=0, roc_auc_score with
// multi_class="ovr", average_precision_score, log_loss, mean_absolute_error, root_mean_squared_error, r2_score).
#[rustfmt::skip]
const LOGITS: [[f64; 4]; 24] = [[-4.0, 1.25, -4.25, -0.25], [0.75, 4.75, 2.0, -1.5], [0.75, -3.0, 1.25, 1.5], [-3.0, 4.75, 4.5, -4.0], [-3.25, -5.0, -2.25, -3.5], [-0.25, -3.75, 1.0, -5.0], [3.5, -2.75, -1.5, 4.5], [-4.0, -2.75, 0.75, 3.75], [-4.25, -3.0, -0.25, -4.75], [-5.0, -1.0, 2.75, 2.25], [2.0, -3.25, 0.75, -2.5], [3.75, -5.0, -3.25, 0.75], [2.0, 3.0, 0.25, 4.0], [3.75, 3.25, -4.25, 1.75], [3.25, -0.25, 1.75, -4.0], [-0.25, 3.25, 2.5, 4.25], [-2.75, 2.25, -0.75, 2.75], [-4.5, -0.25, -0.5, 0.25], [-4.25, -2.25, -1.0, -2.0], [2.25, -2.75, -2.0, -4.25], [-1.5, 0.0, -1.25, 3.75], [-4.0, -3.0, 1.5, 0.75], [-1.75, 4.75, -4.25, 2.25], [-2.0, -2.0, -1.25, 2.25]];
#[rustfmt::skip]
const CLASSES: [i64; 24] = [0, 2, 2, 1, 2, 1, 0, 3, 3, 1, 2, 3, 1, 0, 0, 1, 1, 1, 2, 0, 0, 2, 2, 2];
#[rustfmt::skip]
const SCORES: [f64; 30] = [0.5, 0.75, 0.0, 0.25, 0.375, 0.25, 0.75, 0.5, 0.125, 0.625, 0.75, 0.25, 0.125, 0.625, 0.875, 0.125, 0.75, 0.5, 0.125, 0.0, 0.5, 0.75, 0.875, 0.625, 0.125, 0.875, 0.625, 0.5, 0.375, 0.5];
#[rustfmt::skip]
const YES: [i64; 30] = [1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1];
#[rustfmt::skip]
const SAID: [[f64; 3]; 12] = [[0.375, -3.875, 2.625], [-1.75, 0.75, 2.75], [3.875, 2.75, -3.75], [3.375, -2.75, 0.0], [-4.125, 1.75, 1.625], [1.75, 0.0, -4.25], [-1.375, -3.25, 0.625], [3.375, -0.375, -4.25], [1.75, 0.375, -0.125], [0.5, -5.125, -4.375], [-4.875, -4.25, 0.375], [-1.5, -1.75, 5.5]];
#[rustfmt::skip]
const MEANT: [[f64; 3]; 12] = [[-1.125, -3.25, 1.0], [-1.875, -0.875, 3.0], [4.625, 2.25, -3.75], [1.5, -1.625, -1.5], [-4.0, 0.5, 1.375], [1.75, 0.25, -4.125], [-3.125, -5.0, 1.0], [3.0, 0.5, -3.875], [0.75, 2.0, 1.0], [0.375, -4.375, -2.375], [-3.0, -3.625, -1.0], [0.0, -0.5, 3.625]];

/// What a metric says of a set that is seen in batches of this size.
fn seen<M: Metric>(mut metric: M, output: &Tensor, target: &Tensor, size: usize) -> Result<M> {
    let count = target.size(0)?;
    for start in (0..count).step_by(size) {
        let size = size.min(count - start);
        metric.update(&output.narrow(0, start as isize, size), &target.narrow(0, start as isize, size))?;
    }
    Ok(metric)
}

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} is not {expected}");
}

const SIZES: [usize; 4] = [1, 5, 24, 100];

#[test]
fn classes_are_judged_as_elsewhere() -> Result<()> {
    let (logits, target) = (Tensor::new(LOGITS), Tensor::from(CLASSES));
    for size in SIZES {
        near(seen(Accuracy::new(), &logits, &target, size)?.value()?, 1.0 / 3.0);
        near(seen(TopK::new(2), &logits, &target, size)?.value()?, 0.75);
        near(seen(TopK::new(1), &logits, &target, size)?.value()?, 1.0 / 3.0);
        near(seen(TopK::new(4), &logits, &target, size)?.value()?, 1.0);
        let confusion = seen(Confusion::new(4), &logits, &target, size)?;
        assert_eq!(confusion.rows(), [[3, 1, 0, 2], [0, 1, 2, 4], [1, 2, 3, 2], [1, 0, 1, 1]]);
        let expected = [
            (0.6, 0.5, 0.5454545454545454, 6),
            (0.25, 0.14285714285714285, 0.18181818181818182, 7),
            (0.5, 0.375, 0.42857142857142855, 8),
            (0.1111111111111111, 0.3333333333333333, 0.16666666666666666, 3),
        ];
        for (class, (precision, recall, f1, support)) in expected.into_iter().enumerate() {
            near(confusion.precision(class), precision);
            near(confusion.recall(class), recall);
            near(confusion.f1(class), f1);
            assert_eq!(confusion.support(class), support);
        }
        let averages = [
            (Average::Macro, 0.3652777777777778, 0.337797619047619, 0.33062770562770566),
            (Average::Micro, 0.3333333333333333, 0.3333333333333333, 0.3333333333333333),
            (Average::Weighted, 0.40347222222222223, 0.3333333333333333, 0.35308441558441556),
        ];
        for (average, precision, recall, f1) in averages {
            let scores = confusion.average(average)?;
            near(scores.precision, precision);
            near(scores.recall, recall);
            near(scores.f1, f1);
        }
        let perplexity = seen(Perplexity::new(), &logits, &target, size)?.value()?;
        assert!((perplexity - 9.8860020405528).abs() < 1e-9, "{perplexity}");
    }
    Ok(())
}

#[test]
fn rankings_are_judged_as_elsewhere() -> Result<()> {
    let (scores, yes) = (Tensor::new(SCORES), Tensor::from(YES));
    let (logits, target) = (Tensor::new(LOGITS), Tensor::from(CLASSES));
    for size in SIZES {
        near(seen(RocAuc::new(), &scores, &yes, size)?.value()?, 0.6955555555555555);
        near(seen(AveragePrecision::new(), &scores, &yes, size)?.value()?, 0.659903381642512);
        near(seen(RocAuc::new(), &scores.reshape([30, 1]), &yes, size)?.value()?, 0.6955555555555555);
        near(seen(RocAuc::one_vs_rest(4).with_softmax(), &logits, &target, size)?.value()?, 0.6409021942110177);
        near(seen(RocAuc::one_vs_rest(4), &logits.softmax(-1), &target, size)?.value()?, 0.6409021942110177);
        let average = AveragePrecision::one_vs_rest(4).with_softmax();
        near(seen(average, &logits, &target, size)?.value()?, 0.42891658265870447);
    }
    // All equal: no better than chance. Perfect, and perfectly wrong; infinite scores have their order too.
    let yes = Tensor::from([0, 1, 0, 1]);
    near(seen(RocAuc::new(), &Tensor::zeros([4]), &yes, 4)?.value()?, 0.5);
    near(seen(AveragePrecision::new(), &Tensor::zeros([4]), &yes, 4)?.value()?, 0.5);
    let scores = Tensor::from([f32::NEG_INFINITY, 3.0, -1.0, f32::INFINITY]);
    near(seen(RocAuc::new(), &scores, &yes, 2)?.value()?, 1.0);
    near(seen(RocAuc::new(), &-scores, &yes, 2)?.value()?, 0.0);
    // Both zeros are one number.
    near(seen(RocAuc::new(), &Tensor::from([-0.0, 0.0, 0.0, -0.0]), &yes, 4)?.value()?, 0.5);
    Ok(())
}

#[test]
fn numbers_are_judged_as_elsewhere() -> Result<()> {
    let (said, meant) = (Tensor::new(SAID), Tensor::new(MEANT));
    for size in SIZES {
        let all = seen(Regression::new(), &said, &meant, size)?;
        near(all.mean_absolute()?, 0.9479166666666666);
        near(all.mean_squared()?, 1.3190104166666667);
        near(all.root_mean_squared()?, 1.1483390699412954);
        near(all.r2()?, 0.7837655474207886);
        // Far from zero the spread is still the spread.
        let far = seen(Regression::new(), &(said.select(1, 0) + 1e6), &(meant.select(1, 0) + 1e6), size)?;
        near(far.mean_absolute()?, 0.9166666666666666);
        assert!((far.r2()? - 0.7845187207086574).abs() < 1e-9);
    }
    let constant = Tensor::from([2.0, 2.0]);
    assert_eq!(seen(Regression::new(), &constant, &constant, 2)?.r2()?, 1.0);
    assert_eq!(seen(Regression::new(), &Tensor::from([2.0, 2.5]), &constant, 2)?.r2()?, 0.0);
    Ok(())
}

#[test]
fn axes_after_the_classes_and_padding() -> Result<()> {
    // [n, classes, length], with one element that does not count
    let scores = Tensor::from([[[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], [[0.0, 0.2], [0.1, 0.1], [0.2, 0.0]]]);
    let target = Tensor::from([[0, -100], [1, 0]]);
    let mut accuracy = Accuracy::new();
    accuracy.update(&scores, &target)?;
    assert_eq!((accuracy.value()?, accuracy.count()), (2.0 / 3.0, 3));
    let mut top = TopK::new(2);
    top.update(&scores, &target)?;
    assert_eq!(top.value()?, 1.0);
    let mut confusion = Confusion::new(3);
    confusion.update(&scores, &target)?;
    assert_eq!(confusion.rows(), [[2, 0, 0], [0, 0, 1], [0, 0, 0]]);
    // Equal scores: the earlier class is the one said.
    let mut top = TopK::new(1);
    top.update(&Tensor::zeros([2, 3]), &Tensor::from([0, 1]))?;
    assert_eq!(top.value()?, 0.5);
    // A yes or no as floats, as the binary losses take their targets.
    let mut accuracy = Accuracy::new().with_threshold(0.5);
    accuracy.update(&Tensor::from([[0.6], [0.4]]), &Tensor::from([[1.0], [1.0]]))?;
    assert_eq!(accuracy.value()?, 0.5);
    Ok(())
}

#[test]
fn what_means_nothing_is_refused_and_changes_nothing() -> Result<()> {
    let mut metrics: Vec<(&str, Box<dyn Metric>, Tensor)> = vec![
        ("accuracy", Box::new(Accuracy::new()), Tensor::from([[0.0, 1.0], [1.0, 0.0]])),
        ("top_k", Box::new(TopK::new(2)), Tensor::from([[0.0, 1.0], [1.0, 0.0]])),
        ("confusion", Box::new(Confusion::new(2)), Tensor::from([[0.0, 1.0], [1.0, 0.0]])),
        ("perplexity", Box::new(Perplexity::new()), Tensor::from([[0.0, 1.0], [1.0, 0.0]])),
        ("roc_auc", Box::new(RocAuc::new()), Tensor::from([0.2, 0.7])),
        ("average_precision", Box::new(AveragePrecision::new()), Tensor::from([0.2, 0.7])),
        ("regression", Box::new(Regression::new()), Tensor::from([0.2, 0.7])),
    ];
    let target = Tensor::from([1, 0]);
    for (name, metric, output) in &mut metrics {
        let error = metric.measures().expect_err(name);
        assert!(error.what().contains("nothing yet"), "{name}: {error}");
        metric.update(output, &target)?;
        let before = metric.measures()?;

        let failed = Tensor::zeros([2]) + Tensor::zeros([3]);
        for (output, target) in [(&failed, &target), (&*output, &failed)] {
            assert_eq!(metric.update(output, target).expect_err(name).operation(), "add", "{name}");
        }
        assert!(metric.update(&Tensor::zeros([3, 2, 2]), &target).is_err(), "{name}: sizes");
        if *name != "perplexity" {
            let error = metric.update(&(&*output * f64::NAN), &target).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::NonFinite, "{name}: {error}");
            assert!(error.to_string().contains("tests/metrics.rs") || error.to_string().contains("tests\\metrics.rs"));
        }
        assert_eq!(metric.measures()?, before, "{name}: it changed");
        metric.reset();
        assert!(metric.measures().is_err(), "{name}: it remembers");
    }
    Ok(())
}

#[test]
fn errors_say_what_to_do() -> Result<()> {
    let mut area = RocAuc::new();
    area.update(&Tensor::from([0.1, 0.2]), &Tensor::from([0, 0]))?;
    assert!(area.value().unwrap_err().what().contains("no example"));
    let mut area = RocAuc::new();
    area.update(&Tensor::from([0.1, 0.2]), &Tensor::from([1, 1]))?;
    assert!(area.value().unwrap_err().what().contains("all 2 targets are 1"));
    assert!(area.update(&Tensor::from([0.1]), &Tensor::from([2])).unwrap_err().what().contains("a target is 2"));
    let mut area = RocAuc::one_vs_rest(3);
    let error = area.update(&Tensor::from([[1.0, 2.0, 3.0]]), &Tensor::from([2])).unwrap_err();
    assert!(error.help().contains("with_softmax"), "{error}");
    area.update(&Tensor::from([[0.2, 0.2, 0.6]]), &Tensor::from([2]))?;
    assert!(area.value().unwrap_err().what().contains("class 0"));

    let mut confusion = Confusion::new(2);
    let error = confusion.update(&Tensor::from([[0.0, 1.0]]), &Tensor::from([2])).unwrap_err();
    assert_eq!((error.kind(), error.what()), (ErrorKind::Index, "class 2 of 2"));
    assert!(confusion.update(&Tensor::from([[0.0, 1.0]]), &Tensor::from([-1])).is_err());
    assert!(confusion.accuracy().is_err());
    assert!(
        Accuracy::new().update(&Tensor::from([[1, 2]]), &Tensor::from([0])).unwrap_err().kind() == ErrorKind::DType
    );
    assert!(TopK::new(3).update(&Tensor::zeros([1, 2]), &Tensor::from([0])).unwrap_err().what().contains("3 of 2"));
    assert!(TopK::new(0).update(&Tensor::zeros([1, 2]), &Tensor::from([0])).is_err());
    let mut regression = Regression::new();
    regression.update(&Tensor::from([1.0]), &Tensor::from([2.0]))?;
    assert!(regression.r2().unwrap_err().what().contains("single target"));
    assert!(
        regression.update(&Tensor::zeros([1, 2]), &Tensor::zeros([1, 2])).unwrap_err().what().contains("2 columns")
    );
    assert!(Accuracy::new().update(&Tensor::from([0.5]), &Tensor::from([0.5])).unwrap_err().what().contains("0.5"));
    assert!(Mean::new().value().is_err());
    Ok(())
}

#[test]
fn a_confusion_prints_as_a_table() -> Result<()> {
    let mut confusion = Confusion::new(3).with_names(["cat", "dog", "blackbird"]);
    confusion.update(&Tensor::from([0, 1, 2, 2, 0, 0]), &Tensor::from([0, 1, 2, 2, 1, 0]))?;
    let expected = "\
meant      said
           cat  dog  blackbird
cat          2    ·          ·
dog          1    1          ·
blackbird    ·    ·          2";
    assert_eq!(confusion.to_string(), expected);
    let report = confusion.report()?;
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(lines[2], "dog           1.0000  0.5000  0.6667         2");
    assert_eq!(lines[6], "accuracy                      0.8333         6");
    assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "\n{report}");
    Ok(())
}
