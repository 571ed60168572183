"""The torch side of `peft_speed.py`: `python peft_speed_torch.py LAYERS WIDTH HEADS all|qv`, a step for every line of input."""

import sys
import time

import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

layers, width, heads = map(int, sys.argv[1:4])
where = ["query", "value"] if sys.argv[4] == "qv" else ["query", "key", "value", "dense"]
config = BertConfig(
    num_hidden_layers=layers,
    hidden_size=width,
    num_attention_heads=heads,
    intermediate_size=4 * width,
    num_labels=2,
)
lora = LoraConfig(task_type=TaskType.SEQ_CLS, r=8, lora_alpha=16, target_modules=where)
model = get_peft_model(BertForSequenceClassification(config), lora).train()
optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], 1e-4)
ids, labels = torch.randint(0, config.vocab_size, (32, 128)), torch.randint(0, 2, (32,))
mask = torch.ones_like(ids)
for _ in sys.stdin:
    start = time.perf_counter()
    optimizer.zero_grad()
    model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
    optimizer.step()
    print(time.perf_counter() - start, flush=True)
