//! A training that stops and goes on ends with the bytes of one that never stopped.

use chainrule::io::Checkpoint;
use chainrule::loss::cross_entropy;
use chainrule::nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Embedding, Flatten, Init, Layer, Linear, Lstm, Module, Relu,
    Sequential,
};
use chainrule::optim::schedule::{Cosine, Schedule};
use chainrule::optim::{Adam, AdamW, Ema, NAdam, Optimizer, RmsProp, Sgd};
use chainrule::{Draw, Random, Result, State, Tensor, module};
use std::path::PathBuf;

/// Everything that training changes: convolutions with running statistics, dropouts, recurrent layers with dropout
/// between them, a table with repeated rows.
#[derive(Clone, Debug)]
struct Model {
    look: Sequential,
    embed: Embedding,
    read: Lstm,
    head: Linear,
}
module!(Model { look, embed, read, head });

impl Model {
    fn new(init: &mut Init) -> Model {
        let look = Sequential::new()
            .then(Conv2d::options(1, 6, 3).with_padding(1).build(init))
            .then(BatchNorm2d::new(6, init))
            .then(Relu)
            .then(Dropout::new(0.2, init))
            .then(AdaptiveAvgPool2d::new([2, 2]))
            .then(Flatten::new());
        Model {
            look,
            embed: Embedding::new(11, 5, init),
            read: Lstm::options(5, 8).with_layers(2).with_batch_first().with_dropout(0.3).build(init),
            head: Linear::new(32, 3, init),
        }
        .named()
    }
    fn forward(&self, pictures: &Tensor, words: &Tensor) -> Tensor {
        let read = self.read.forward(&self.embed.forward(words)).output.select(1, -1);
        self.head.forward(&Tensor::cat(&[self.look.forward(pictures), read], -1))
    }
}

/// How a run gets its optimizer.
type Make = fn() -> Box<dyn Optimizer>;

/// What a run holds besides its data.
struct Run {
    model: Model,
    optimizer: Box<dyn Optimizer>,
    scheduler: chainrule::optim::schedule::Scheduler<Cosine>,
    average: Ema<Model>,
    order: Random,
    epoch: i64,
}

impl Run {
    fn new(make: Make) -> Result<Run> {
        let mut init = Init::new().seed(3);
        let model = Model::new(&mut init);
        let mut optimizer = make();
        let scheduler = Cosine::new(40).start(&mut *optimizer);
        let average = Ema::new(&model, 0.9);
        Ok(Run { model, optimizer, scheduler, average, order: Random::new(8), epoch: 0 })
    }
    fn train(&mut self, epochs: usize) -> Result<()> {
        let mut random = Random::new(1);
        let pictures = Tensor::normal([24, 1, 6, 6], 0.0, 1.0, &mut random);
        let words = Tensor::integers([24, 7], 0..11, &mut random);
        let target = Tensor::integers([24], 0..3, &mut random);
        for _ in 0..epochs {
            let order = Tensor::permutation(24, &mut self.order);
            for batch in 0..3 {
                let rows = order.narrow(0, 8 * batch, 8);
                let scores = self.model.forward(&pictures.index_select(0, &rows), &words.index_select(0, &rows));
                let loss = cross_entropy(&scores, &target.index_select(0, &rows));
                let mut gradients = loss.backward()?;
                gradients.clip_norm(1.0)?;
                self.optimizer.step(&mut self.model, &gradients)?;
                self.average.update(&self.model)?;
            }
            self.scheduler.step(&mut *self.optimizer);
            self.epoch += 1;
        }
        Ok(())
    }
    fn checkpoint(&self) -> Result<Checkpoint> {
        let Draw { seed, stream, number } = self.order.position();
        let order = [seed as i64, stream.into(), number as i64].map(State::Integer).to_vec();
        Ok(Checkpoint::new()
            .with("model", self.model.state()?)
            .with("optimizer", self.optimizer.state(&self.model)?)
            .with("schedule", self.scheduler.state()?)
            .with("average", self.average.state()?)
            .with("order", State::List(order))
            .with("epoch", State::Integer(self.epoch)))
    }
    fn resume(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.model.load_state(checkpoint.get("model")?)?;
        self.optimizer.load_state(&self.model, checkpoint.get("optimizer")?)?;
        self.scheduler.load_state(&mut *self.optimizer, checkpoint.get("schedule")?)?;
        self.average.load_state(checkpoint.get("average")?)?;
        let order = checkpoint.get("order")?.list()?;
        let [seed, stream, number] = [0, 1, 2].map(|i| order[i].integer());
        self.order = Random::resume(Draw { seed: seed? as u64, stream: stream? as u32, number: number? as u64 });
        self.epoch = checkpoint.get("epoch")?.integer()?;
        Ok(())
    }
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("chainrule-resume-{}-{name}", std::process::id()))
}

/// The bytes of the file that a run would leave here.
fn bytes(run: &Run, name: &str) -> Result<Vec<u8>> {
    let path = path(name);
    run.checkpoint()?.save(&path)?;
    let bytes = std::fs::read(&path).expect("it was just written");
    std::fs::remove_file(&path).ok();
    Ok(bytes)
}

#[test]
fn five_epochs_and_five_are_ten() -> Result<()> {
    let optimizers: [(&str, Make); 5] = [
        ("sgd", || Box::new(Sgd::new(0.05).with_momentum(0.9))),
        ("adam", || Box::new(Adam::new(0.01).amsgrad())),
        ("adamw", || Box::new(AdamW::new(0.01))),
        ("nadam", || Box::new(NAdam::new(0.01))),
        ("rmsprop", || Box::new(RmsProp::new(0.01).centered())),
    ];
    for (name, make) in optimizers {
        let mut whole = Run::new(make)?;
        whole.train(10)?;

        let mut first = Run::new(make)?;
        first.train(5)?;
        let half = path(&format!("{name}-half"));
        first.checkpoint()?.save(&half)?;
        drop(first);
        // Another program: nothing is left but the file.
        let mut second = Run::new(make)?;
        second.train(1)?;
        second.resume(&Checkpoint::load(&half)?)?;
        std::fs::remove_file(&half).ok();
        second.train(5)?;

        assert!(bytes(&whole, name)? == bytes(&second, name)?, "{name}: the resumed run ends with other bytes");
        second.train(1)?;
        assert!(bytes(&whole, name)? != bytes(&second, name)?, "{name}: a file that does not see training");
    }
    Ok(())
}

#[test]
fn a_state_of_another_model_is_refused_whole() -> Result<()> {
    let mut run = Run::new(|| Box::new(AdamW::new(0.01)))?;
    run.train(1)?;
    let before = bytes(&run, "before")?;
    let mut other = Linear::new(4, 2, &mut Init::new());
    assert!(run.model.load_state(&other.state()?).is_err());
    assert!(other.load_state(&run.model.state()?).is_err());
    assert!(run.optimizer.load_state(&other, &State::tree()).is_err());
    assert!(bytes(&run, "after")? == before);
    Ok(())
}
