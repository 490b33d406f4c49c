// savePretrained: a pipeline as a Hugging Face folder. Each file is written beside its place and renamed into it.

import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ArgumentError, writeSafetensors } from '@darkroom/core';
import type { AnyModule } from '@darkroom/core';
import { writePythonJson } from '../../loading/json.ts';
import { AutoencoderKL } from '../../models/autoencoder-kl.ts';
import { CLIPTextModel, CLIPTextModelWithProjection } from '../../models/clip-text.ts';
import { UNet2DConditionModel } from '../../models/unet2d-condition.ts';
import { Scheduler } from '../../schedulers/scheduler.ts';
import { ClipTokenizer } from '../../tokenizers/clip.ts';
import type { Pipeline } from '../pipeline.ts';

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

/** Library and class as model_index.json names them. */
function classOf(component: unknown): readonly [string, string] {
  if (component instanceof ClipTokenizer) return ['transformers', 'CLIPTokenizer'];
  if (component instanceof Scheduler) return ['diffusers', component.className];
  if (component instanceof CLIPTextModelWithProjection)
    return ['transformers', 'CLIPTextModelWithProjection'];
  if (component instanceof CLIPTextModel) return ['transformers', 'CLIPTextModel'];
  if (component instanceof AutoencoderKL) return ['diffusers', 'AutoencoderKL'];
  if (component instanceof UNet2DConditionModel) return ['diffusers', 'UNet2DConditionModel'];
  const name = (component as object).constructor.name;
  throw new ArgumentError(`savePretrained: a component of class ${name} has no file format`);
}

export async function savePipeline(pipe: Pipeline, folder: string): Promise<void> {
  const entries = Object.entries(pipe.components).map(([name, component]) => {
    const place = pipe.folders[name]!;
    return { place, component: component as unknown, kind: classOf(component) };
  });
  await mkdir(folder, { recursive: true });
  for (const { place, component, kind } of entries) {
    const path = join(folder, place);
    await mkdir(path, { recursive: true });
    if (component instanceof Scheduler) {
      await saveJson(join(path, 'scheduler_config.json'), component.config);
    } else if (component instanceof ClipTokenizer) {
      for (const [name, text] of Object.entries(component.files)) {
        await writeWhole(join(path, name), (temporary) => writeFile(temporary, text));
      }
    } else {
      const stem = kind[0] === 'transformers' ? 'model' : 'diffusion_pytorch_model';
      await saveModel(component as AnyModule & { config: object }, path, stem);
    }
  }
  await saveJson(join(folder, 'model_index.json'), {
    ...pipe.index,
    _class_name: pipe.className,
    ...Object.fromEntries(entries.map(({ place, kind }) => [place, kind])),
  });
}
