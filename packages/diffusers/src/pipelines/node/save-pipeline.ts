// savePretrained: a pipeline as a Hugging Face folder. A model that is there already stays until the new one is whole.

import { join } from 'node:path';
import { ArgumentError, writeSafetensors } from '@darkroom/core';
import type { AnyModule } from '@darkroom/core';
import { writeFilesTogether } from '@darkroom/core/node';
import type { NewFile } from '@darkroom/core/node';
import { writePythonJson } from '../../loading/json.ts';
import { AutoencoderKL } from '../../models/autoencoder-kl.ts';
import { CLIPTextModel, CLIPTextModelWithProjection } from '../../models/clip-text.ts';
import { UNet2DConditionModel } from '../../models/unet2d-condition.ts';
import { Scheduler } from '../../schedulers/scheduler.ts';
import { ClipTokenizer } from '../../tokenizers/clip.ts';
import type { Pipeline } from '../pipeline.ts';

const json = (path: string, value: unknown): NewFile => ({ path, data: writePythonJson(value) });

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

/** The files of a component in its folder. */
function filesOf(component: unknown, folder: string, library: string): NewFile[] {
  if (component instanceof Scheduler) return [json(join(folder, 'scheduler_config.json'), component.config)];
  if (component instanceof ClipTokenizer)
    return Object.entries(component.files).map(([name, data]) => ({ path: join(folder, name), data }));
  const model = component as AnyModule & { config: object };
  const stem = library === 'transformers' ? 'model' : 'diffusion_pytorch_model';
  const weights = { path: join(folder, `${stem}.safetensors`), data: writeSafetensors(model.stateDict()) };
  return [json(join(folder, 'config.json'), model.config), weights];
}

export async function savePipeline(pipe: Pipeline, folder: string): Promise<void> {
  const entries = Object.entries(pipe.components).map(([name, component]) => {
    const place = pipe.folders[name]!;
    return { place, component: component as unknown, kind: classOf(component) };
  });
  const files = entries.flatMap(({ place, component, kind }) =>
    filesOf(component, join(folder, place), kind[0]),
  );
  // The index is last to change: before it, the folder is the model that it was.
  const index = json(join(folder, 'model_index.json'), {
    ...pipe.index,
    _class_name: pipe.className,
    ...Object.fromEntries(entries.map(({ place, kind }) => [place, kind])),
  });
  await writeFilesTogether([...files, index]);
}
