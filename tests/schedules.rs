//! Schedules at work: groups, composition, checkpoints, and settings at the edge.

use chainrule::optim::schedule::{
    Constant, Cosine, Cyclic, Exponential, Lambda, Linear, MultiStep, OneCycle, Plateau, Polynomial, Schedule,
    StepDecay, WarmRestarts,
};
use chainrule::optim::{Adagrad, AdamW, Group, Optimizer, Sgd};
use chainrule::{Result, State};

fn near(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-12, "{got} instead of {expected}");
}

#[test]
fn each_group_starts_at_its_own_rate() {
    let mut optimizer = AdamW::new(1.0)
        .with_group(Group::matching("head").with_rate(0.1))
        .with_group(Group::matching("*.bias").with_weight_decay(0.0));
    let mut schedule = Cosine::new(4).with_minimum(0.02).start(&mut optimizer);
    schedule.step(&mut optimizer);
    schedule.step(&mut optimizer);
    let rates = optimizer.rates();
    assert_eq!(rates.len(), 2, "a group without a rate of its own follows");
    near(rates[0], 0.51);
    near(rates[1], 0.06);
}

#[test]
fn a_schedule_begins_before_the_first_step() {
    let mut optimizer = Sgd::new(1.0);
    let schedule = Constant::new(0.25, 3).start(&mut optimizer);
    assert_eq!((optimizer.rate(), schedule.steps()), (0.25, 0));
}

#[test]
fn schedules_compose() {
    let parts: Box<dyn Schedule> = Box::new(Linear::new(0.5, 1.0, 2).then_at(2, Exponential::new(0.1)));
    let chain = parts.then_at(4, Lambda::new(|step| 7.0 + step as f64));
    let rates: Vec<f64> = (0..6).map(|step| chain.rate(2.0, step)).collect();
    for (got, expected) in rates.into_iter().zip([1.0, 1.5, 2.0, 0.2, 14.0, 16.0]) {
        near(got, expected);
    }
    let warm = MultiStep::new([3]).after_warm_up(1);
    for (step, expected) in [(0, 0.5), (1, 1.0), (3, 1.0), (4, 0.1)] {
        near(warm.rate(1.0, step), expected);
    }
    near(Exponential::new(0.5).after_warm_up(0).rate(1.0, 0), 1.0);
}

#[test]
fn schedules_multiply() {
    // PyTorch's example of a chain: a constant factor, and a power, at once.
    let chain = Constant::new(0.1, 20).times(Exponential::new(0.9));
    for (step, expected) in
        [(0, 0.05), (1, 0.045), (2, 0.0405), (19, 0.05 * 0.9f64.powi(19)), (20, 0.5 * 0.9f64.powi(20))]
    {
        near(chain.rate(0.5, step), expected);
    }
    // The other order is the same where both are factors; a least rate and a rate of one's own know their place.
    near(Exponential::new(0.9).times(Constant::new(0.1, 20)).rate(0.5, 7), chain.rate(0.5, 7));
    near(Exponential::new(0.5).times(Cosine::new(10).with_minimum(0.01)).rate(1.0, 10), 0.01);
    near(OneCycle::new(1.0, 10).times(Constant::new(0.5, 100)).rate(7.0, 3), OneCycle::new(1.0, 10).rate(7.0, 3) / 2.0);
    assert_eq!(chain.momentum(3), None);
    let cycle = OneCycle::new(1.0, 10);
    let momentum = cycle.momentum(4);
    assert!(momentum.is_some());
    assert_eq!(cycle.times(Exponential::new(0.5)).momentum(4), momentum);
    let three = Exponential::new(0.5)
        .times(Exponential::new(0.5))
        .times(Exponential::new(0.5))
        .then_at(2, Constant::new(0.25, 9));
    near(three.rate(1.0, 1), 0.125);
    near(three.rate(1.0, 2), 0.25);
    let mut optimizer = Sgd::new(0.5);
    let mut scheduler = Constant::new(0.1, 20).times(Exponential::new(0.9)).start(&mut optimizer);
    scheduler.step(&mut optimizer);
    near(optimizer.rate(), 0.045);
}

#[test]
fn momentum_goes_against_the_rate_where_there_is_one() {
    let mut sgd = Sgd::new(0.1).with_momentum(0.5);
    let mut adam = AdamW::new(0.1).with_group(Group::matching("head").with_betas(0.7, 0.9));
    let mut adagrad = Adagrad::new(0.1);
    for optimizer in [&mut sgd as &mut dyn Optimizer, &mut adam, &mut adagrad] {
        let mut schedule = Cyclic::new(0.0, 1.0, 2).start(optimizer);
        schedule.step(optimizer);
        near(optimizer.rate(), 0.5);
        near(optimizer.momentum().unwrap_or(0.85), 0.85);
    }
    assert_eq!(adagrad.momentum(), None);
    let mut sgd = Sgd::new(0.1).with_momentum(0.5);
    OneCycle::new(1.0, 10).without_momentum().start(&mut sgd);
    assert_eq!(sgd.momentum(), Some(0.5));
}

#[test]
fn a_schedule_goes_on_from_its_state() -> Result<()> {
    let make = || WarmRestarts::new(3).with_growth(2).after_warm_up(2);
    let mut optimizer = Sgd::new(0.3);
    let mut schedule = make().start(&mut optimizer);
    for _ in 0..5 {
        schedule.step(&mut optimizer);
    }
    let state = schedule.state()?;
    // the state of the optimizer may be loaded before the schedule is made or after it
    let mut other = Sgd::new(0.123);
    let mut again = make().start(&mut other);
    again.load_state(&mut other, &state)?;
    for _ in 0..6 {
        assert_eq!(other.rate().to_bits(), optimizer.rate().to_bits());
        schedule.step(&mut optimizer);
        again.step(&mut other);
    }
    let mut grouped = Sgd::new(0.1).with_group(Group::matching("a").with_rate(0.2));
    let mut wrong = make().start(&mut grouped);
    let before = grouped.rates();
    let error = wrong.load_state(&mut grouped, &state).unwrap_err();
    assert!(error.what().contains("the state has 1 rates, the optimizer 2"), "{error}");
    assert_eq!((grouped.rates(), wrong.steps()), (before, 0));
    Ok(())
}

#[test]
fn a_plateau_goes_on_from_its_state() -> Result<()> {
    let make = || Plateau::new().with_patience(1).with_cooldown(1).with_factor(0.5);
    let measures = [3.0, 2.0, 2.5, 2.5, 2.5, 2.5, 2.5, 1.0, f64::NAN, f64::NAN, f64::NAN];
    for cut in 0..measures.len() {
        let (mut one, mut two) = (Sgd::new(1.0), Sgd::new(1.0));
        let (mut through, mut first) = (make(), make());
        for &measure in &measures[..cut] {
            assert_eq!(through.step(&mut one, measure), first.step(&mut two, measure));
        }
        let mut second = make();
        second.load_state(&first.state()?)?;
        for &measure in &measures[cut..] {
            assert_eq!(through.step(&mut one, measure), second.step(&mut two, measure));
            assert_eq!(one.rate(), two.rate());
        }
        assert!(one.rate() < 0.5, "NaN is never better");
    }
    assert!(Plateau::new().load_state(&State::Flag(true)).is_err());
    Ok(())
}

#[test]
fn settings_at_the_edge_give_numbers() {
    let schedules: Vec<Box<dyn Schedule>> = vec![
        Box::new(StepDecay::new(0)),
        Box::new(Linear::new(0.5, 1.0, 0)),
        Box::new(Constant::new(0.5, 0)),
        Box::new(Polynomial::new(0, 2.0)),
        Box::new(Cosine::new(0)),
        Box::new(Cosine::new(u64::MAX)),
        Box::new(WarmRestarts::new(0).with_growth(0)),
        Box::new(WarmRestarts::new(1).with_growth(2)),
        Box::new(WarmRestarts::new(u64::MAX).with_growth(u64::MAX)),
        Box::new(OneCycle::new(1.0, 0)),
        Box::new(OneCycle::new(1.0, 1).three_phases()),
        Box::new(OneCycle::new(1.0, 10).with_rising(0.0)),
        Box::new(OneCycle::new(1.0, 10).with_rising(1.0).linear()),
        Box::new(Cyclic::new(0.1, 1.0, 0).with_down(0)),
        Box::new(Cosine::new(10).after_warm_up(u64::MAX)),
        Box::new(OneCycle::new(1.0, 0).times(Cosine::new(0)).times(StepDecay::new(0))),
    ];
    for (at, schedule) in schedules.iter().enumerate() {
        for step in [0, 1, 2, 9, 10, 11, 1000, u64::MAX] {
            let (rate, momentum) = (schedule.rate(1.0, step), schedule.momentum(step));
            assert!((0.0..=1.0).contains(&rate), "schedule {at} gives {rate} at {step}");
            assert!(momentum.is_none_or(|momentum| (0.8..=0.96).contains(&momentum)), "schedule {at} at {step}");
        }
    }
}
