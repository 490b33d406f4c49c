// savePretrained: a pipeline as a Hugging Face folder. Each file is written beside its place and renamed into it.

import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeSafetensors } from '@darkroom/core';
import type { AnyModule } from '@darkroom/core';
import { writePythonJson } from '../../loading/json.ts';
import type { StableDiffusionPipeline } from '../stable-diffusion.ts';

/** Writes `path` whole or not at all. */
async function writeWhole(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}.partial`;
  try {
    await write(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function saveJson(path: string, value: unknown): Promise<void> {
  await writeWhole(path, (temporary) => writeFile(temporary, writePythonJson(value)));
}

async function saveModel(model: AnyModule & { config: object }, folder: string, stem: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await saveJson(join(folder, 'config.json'), model.config);
  await writeWhole(join(folder, `${stem}.safetensors`), async (temporary) => {
    const file = await open(temporary, 'w');
    try {
      for await (const chunk of writeSafetensors(model.stateDict())) await file.write(chunk);
    } finally {
      await file.close();
    }
  });
}

export async function savePipeline(pipe: StableDiffusionPipeline, folder: string): Promise<void> {
  const scheduler = pipe.scheduler.config['_class_name'] as string;
  await mkdir(folder, { recursive: true });
  await saveModel(
    pipe.unet as unknown as AnyModule & { config: object },
    join(folder, 'unet'),
    'diffusion_pytorch_model',
  );
  await saveModel(
    pipe.vae as unknown as AnyModule & { config: object },
    join(folder, 'vae'),
    'diffusion_pytorch_model',
  );
  await saveModel(
    pipe.textEncoder as unknown as AnyModule & { config: object },
    join(folder, 'text_encoder'),
    'model',
  );
  await mkdir(join(folder, 'scheduler'), { recursive: true });
  await saveJson(join(folder, 'scheduler', 'scheduler_config.json'), pipe.scheduler.config);
  await mkdir(join(folder, 'tokenizer'), { recursive: true });
  for (const [name, text] of Object.entries(pipe.tokenizer.files)) {
    await writeWhole(join(folder, 'tokenizer', name), (temporary) => writeFile(temporary, text));
  }
  await saveJson(join(folder, 'model_index.json'), {
    ...pipe.index,
    _class_name: 'StableDiffusionPipeline',
    unet: ['diffusers', 'UNet2DConditionModel'],
    vae: ['diffusers', 'AutoencoderKL'],
    text_encoder: ['transformers', 'CLIPTextModel'],
    tokenizer: ['transformers', 'CLIPTokenizer'],
    scheduler: ['diffusers', scheduler],
  });
}
