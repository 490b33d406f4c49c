// The component classes of this library.

import { readJson, writePythonJson } from '../loading/json.ts';
import { AutoencoderKL, convertVaeKeys } from '../models/autoencoder-kl.ts';
import { CLIPTextModel, CLIPTextModelWithProjection, convertTextEncoderKeys } from '../models/clip-text.ts';
import { UNet2DConditionModel } from '../models/unet2d-condition.ts';
import { schedulerClasses, schedulerFromConfig } from '../schedulers/from-config.ts';
import { Scheduler } from '../schedulers/scheduler.ts';
import { ClipTokenizer, clipTokenizerFromFiles } from '../tokenizers/clip.ts';
import type { ComponentClass } from './component-class.ts';
import { modelClass } from './model-class.ts';

const clipTokenizer: ComponentClass<ClipTokenizer> = {
  names: ['CLIPTokenizer', 'CLIPTokenizerFast'],
  library: 'transformers',
  is: (component) => component instanceof ClipTokenizer,
  load: (files, folder) => clipTokenizerFromFiles(files, folder),
  save: ({ files }) => Object.entries(files).map(([name, data]) => ({ name, data })),
};

const scheduler: ComponentClass<Scheduler> = {
  names: Object.keys(schedulerClasses),
  library: 'diffusers',
  is: (component) => component instanceof Scheduler,
  nameOf: ({ className }) => className,
  async load(files, folder, className) {
    const path = `${folder}/scheduler_config.json`;
    const config = { ...(await readJson(files, path)), _class_name: className };
    return schedulerFromConfig(config, `${files.describe()}/${path}`);
  },
  save: ({ config }) => [{ name: 'scheduler_config.json', data: writePythonJson(config) }],
};

/** All component classes. Subclasses stand before their bases: the first whose is() accepts an object is used. */
export const builtInComponents: readonly ComponentClass[] = [
  modelClass({
    name: 'UNet2DConditionModel',
    library: 'diffusers',
    model: UNet2DConditionModel,
    fromConfig: (config, source) => UNet2DConditionModel.fromConfig(config, source),
  }),
  modelClass({
    name: 'AutoencoderKL',
    library: 'diffusers',
    model: AutoencoderKL,
    fromConfig: (config, source) => AutoencoderKL.fromConfig(config, source),
    convert: convertVaeKeys,
  }),
  modelClass({
    name: 'CLIPTextModelWithProjection',
    library: 'transformers',
    model: CLIPTextModelWithProjection,
    fromConfig: (config, source) => CLIPTextModelWithProjection.fromConfig(config, source),
    convert: convertTextEncoderKeys,
  }),
  modelClass({
    name: 'CLIPTextModel',
    library: 'transformers',
    model: CLIPTextModel,
    fromConfig: (config, source) => CLIPTextModel.fromConfig(config, source),
    convert: convertTextEncoderKeys,
  }),
  clipTokenizer,
  scheduler,
] as unknown as readonly ComponentClass[];
