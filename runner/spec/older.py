"""The words of the older DreamBooth scripts, and where each has its place here.

The scripts are `train_dreambooth.py` of huggingface/diffusers (D) and of the ShivamShrirao/diffusers fork (S).
"""

from typing import Final, NamedTuple


class Older(NamedTuple):
    """One parameter of the older scripts.

    Attributes:
        scripts: `D`, `S` or both.
        key: our dotted path; empty when it is no setting here.
        note: how it differs, or what takes its place.
    """

    scripts: str
    key: str = ""
    note: str = ""


PARAMETERS: Final[dict[str, Older]] = {
    "pretrained_model_name_or_path": Older("D S", "model"),
    "pretrained_vae_name_or_path": Older("S", "vae"),
    "revision": Older("D S", "model.revision"),
    "variant": Older(
        "D", note="full weights are taken where there are both; fp16 files where there is nothing else"
    ),
    "tokenizer_name": Older("D S", note="the model's own tokenizer"),
    "instance_data_dir": Older("D S", "concepts[].instance_images"),
    "class_data_dir": Older(
        "D S", "concepts[].class_images", "only for your own class images; made ones are kept in the store"
    ),
    "instance_prompt": Older("D S", "concepts[].instance_prompt"),
    "class_prompt": Older("D S", "concepts[].class_prompt"),
    "concepts_list": Older(
        "S", "concepts", "`runner init --from-concepts concepts_list.json` translates the file"
    ),
    "with_prior_preservation": Older("D S", "train.prior_preservation", "on unless switched off"),
    "prior_loss_weight": Older("D S", "train.prior_weight"),
    "num_class_images": Older("D S", "class_images.count"),
    "sample_batch_size": Older("D S", "class_images.batch_size"),
    "prior_generation_precision": Older("D", "class_images.precision"),
    "output_dir": Older(
        "D S", "store", "runs live in a store, under their run id; `runner fetch` brings the files"
    ),
    "seed": Older("D S", "train.seed", "samples and class images have seeds of their own"),
    "resolution": Older("D S", "resolution"),
    "center_crop": Older(
        "D S", "dataset.crop", "`center` is the default; `variants` plans several crops a photo"
    ),
    "hflip": Older("S", "dataset.flip"),
    "read_prompts_from_txts": Older("S", "dataset.captions", "photo.jpg.txt or photo.txt beside the photo"),
    "train_text_encoder": Older("D S", "train.train_text_encoder"),
    "train_batch_size": Older("D S", "train.batch_size"),
    "num_train_epochs": Older("D S", "train.epochs"),
    "max_train_steps": Older("D S", "train.max_steps", "counts optimiser steps, also with accumulation"),
    "gradient_accumulation_steps": Older("D S", "train.gradient_accumulation"),
    "gradient_checkpointing": Older("D S", "train.gradient_checkpointing"),
    "learning_rate": Older("D S", "train.learning_rate"),
    "scale_lr": Older("D S", "train.scale_lr"),
    "lr_scheduler": Older("D S", "train.lr_scheduler"),
    "lr_warmup_steps": Older("D S", "train.lr_warmup_steps"),
    "lr_num_cycles": Older("D", "train.lr_num_cycles"),
    "lr_power": Older("D", "train.lr_power"),
    "use_8bit_adam": Older("D S", "train.optimizer", "`adamw8bit`"),
    "adam_beta1": Older("D S", "train.adam_beta1"),
    "adam_beta2": Older("D S", "train.adam_beta2"),
    "adam_weight_decay": Older("D S", "train.weight_decay"),
    "adam_epsilon": Older("D S", "train.adam_epsilon"),
    "max_grad_norm": Older("D S", "train.max_grad_norm"),
    "offset_noise": Older("D", "train.offset_noise", "a strength; the script's switch means 0.1"),
    "snr_gamma": Older("D", "train.snr_gamma"),
    "mixed_precision": Older("D S", "train.precision", "`fp32` for the scripts' `no`"),
    "enable_xformers_memory_efficient_attention": Older("D", "train.attention", "`xformers`"),
    "checkpointing_steps": Older("D", "train.checkpoint_every"),
    "save_interval": Older("S", "train.checkpoint_every"),
    "save_min_steps": Older("S", "train.checkpoint_first"),
    "log_interval": Older("S", "train.log_every"),
    "save_sample_prompt": Older("S", "samples.prompts"),
    "validation_prompt": Older("D", "samples.prompts"),
    "save_sample_negative_prompt": Older("S", "samples.negative_prompt"),
    "n_save_sample": Older("S", "samples.count", "at checkpoints: `samples.checkpoint_count`"),
    "num_validation_images": Older("D", "samples.checkpoint_count"),
    "save_guidance_scale": Older("S", "samples.guidance_scale"),
    "save_infer_steps": Older("S", "samples.steps"),
    "validation_scheduler": Older("D", "samples.sampler"),
    "validation_steps": Older("D", note="samples are drawn at each checkpoint"),
    "checkpoints_total_limit": Older(
        "D", note="the last two resume states are kept, and every checkpoint's weights"
    ),
    "resume_from_checkpoint": Older(
        "D", note="`runner submit` again: a run continues from its last checkpoint"
    ),
    "pad_tokens": Older("S", note="prompts are always padded, as inference pads them"),
    "not_cache_latents": Older(
        "S", note="latents are always cached, mean and deviation, so each step draws anew"
    ),
    "pre_compute_text_embeddings": Older("D", note="always, unless the text encoder is trained"),
    "set_grads_to_none": Older("D", note="always"),
    "allow_tf32": Older("D", note="the device's own choice"),
    "dataloader_num_workers": Older("D", note="training reads from the caches; there is nothing to load"),
    "local_rank": Older("D S", "resources.gpus", "processes are started by the job"),
    "logging_dir": Older("D S", note="logs and metrics are in the store: `runner logs`, `runner report`"),
    "report_to": Older("D", note="as logging_dir"),
    "push_to_hub": Older("D S", note="`runner fetch`, then upload the folder with the hub's own tool"),
    "hub_model_id": Older("D S", note="as push_to_hub"),
    "hub_token": Older("D S", note="never in a spec: HF_TOKEN on this machine, a Secret on a cluster"),
    "use_auth_token": Older("S", note="as hub_token"),
    "tokenizer_max_length": Older("D", note="of the T5 models of DeepFloyd IF, which are not trained here"),
    "text_encoder_use_attention_mask": Older("D", note="as tokenizer_max_length"),
    "skip_save_text_encoder": Older("D", note="as tokenizer_max_length"),
    "class_labels_conditioning": Older("D", note="as tokenizer_max_length"),
    "validation_images": Older("D", note="as tokenizer_max_length"),
}

SHORTHAND: Final = {"lr": "train.learning_rate"}
"""What people write for short, and what a likeness of letters would take for something else."""

OLDER_NAMES: Final = SHORTHAND | {
    name: older.key.replace("[]", "[0]") for name, older in PARAMETERS.items() if older.key
}
"""Our path for each older name that has one; errors on unknown keys use it."""
