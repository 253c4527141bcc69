import lightning as L
import torch


class Net(L.LightningModule):
    def training_step(self, batch, index):
        return self(batch).mean()


L.Trainer().fit(Net(), torch.utils.data.DataLoader([]))
