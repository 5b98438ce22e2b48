"""pythae as its users run it: its BaseTrainer, datasets, DataLoader, BCE on grey pixels; only the network is ours."""

import tempfile

import torch
from pythae.data.preprocessors import DataProcessor
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import nn

from benchmarks.task import Task, pixels

torch.set_num_threads(2)


class Encoder(BaseEncoder):
    def __init__(self, latent: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(784, 500), nn.ReLU())
        self.embedding, self.log_var = nn.Linear(500, latent), nn.Linear(500, latent)

    def forward(self, x: torch.Tensor) -> ModelOutput:
        h = self.hidden(x.reshape(-1, 784))
        return ModelOutput(embedding=self.embedding(h), log_covariance=self.log_var(h))


class Decoder(BaseDecoder):
    def __init__(self, latent: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(latent, 500), nn.ReLU(), nn.Linear(500, 784), nn.Sigmoid())

    def forward(self, z: torch.Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z).reshape(-1, 1, 28, 28))


class Laps(TrainingCallback):
    """Its documented callback, so that an epoch is timed with all that the trainer does in it."""

    def __init__(self, lap, parameters: int) -> None:
        self.lap, self.facts = lap, {'parameters': parameters}

    def on_epoch_begin(self, training_config, **kwargs) -> None:
        self.lap(**self.facts)

    def on_log(self, training_config, logs, **kwargs) -> None:
        self.facts = {'loss': logs['train_epoch_loss']}


def vae(task: Task, lap) -> None:
    """784-500-latent-500-784."""
    model = VAE(
        VAEConfig(input_dim=(1, 28, 28), latent_dim=task.latent, reconstruction_loss='bce'),
        encoder=Encoder(task.latent),
        decoder=Decoder(task.latent),
    )
    processor = DataProcessor()
    dataset = processor.to_dataset(processor.process_data(pixels(task.rows).reshape(-1, 1, 28, 28) / 255.0))
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=task.batch,
            learning_rate=task.lr,
            num_epochs=1_000_000,
            no_cuda=True,
        )
        laps = Laps(lap, sum(p.numel() for p in model.parameters()))
        BaseTrainer(model, dataset, training_config=config, callbacks=[laps]).train()
