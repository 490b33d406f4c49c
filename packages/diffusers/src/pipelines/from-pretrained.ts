// fromPretrained: a folder, hub id or other files → components. model_index.json names class and library of each; every
// config and weight file is checked before it is used, and an error leaves nothing on the device.

import {
  ArgumentError,
  checkOptions,
  describe,
  Device,
  FormatError,
  isDType,
  isFloat,
  shorten,
} from '@darkroom/core';
import type { AnyModule, DType, OptionNames } from '@darkroom/core';
import type { ModelFiles } from '../loading/files.ts';
import { openModel } from '../loading/hub.ts';
import type { HubOptions } from '../loading/hub.ts';
import { describeJson, readJson } from '../loading/json.ts';
import { lookUp } from '../loading/look-up.ts';
import { weightFiles } from '../loading/weights-files.ts';
import { AutoencoderKL, convertVaeKeys } from '../models/autoencoder-kl.ts';
import { CLIPTextModel, CLIPTextModelWithProjection, convertTextEncoderKeys } from '../models/clip-text.ts';
import { UNet2DConditionModel } from '../models/unet2d-condition.ts';
import { schedulerFromConfig } from '../schedulers/from-config.ts';
import type { Scheduler } from '../schedulers/scheduler.ts';
import { clipTokenizerFromFiles } from '../tokenizers/clip.ts';
import type { ClipTokenizer } from '../tokenizers/clip.ts';
import { loadWeights } from './load-weights.ts';
import type { KeyConversion } from './load-weights.ts';

export interface LoadOptions extends HubOptions {
  readonly device: Device;
  /** dtype of weights and activations. Default: weights as stored, activations in float32. */
  readonly dtype?: DType;
  /** 'host' leaves weights in host memory, for offload; default 'device'. */
  readonly weights?: 'device' | 'host';
  /** 'fp16' picks *.fp16.safetensors; falls back to the plain file, with a warning, when no variant file exists. */
  readonly variant?: string;
  /** Bytes loaded of a component's weights. */
  readonly onLoad?: (component: string, loadedBytes: number, totalBytes: number) => void;
}

/** `components` is an option of the pipelines' fromPretrained. */
const loadOptionNames: OptionNames<LoadOptions & { readonly components: unknown }> = {
  device: true,
  dtype: true,
  weights: true,
  variant: true,
  onLoad: true,
  components: true,
  revision: true,
  cacheDir: true,
  localFilesOnly: true,
  token: true,
  endpoint: true,
  etagTimeout: true,
  downloadTimeout: true,
  onDownload: true,
};

type Config = Readonly<Record<string, unknown>>;

interface ModelClass {
  fromConfig(config: Config, source: string): AnyModule;
}

interface ModelKind {
  readonly model: ModelClass;
  /** Stem of the weight files. */
  readonly stem: string;
  readonly convert?: KeyConversion;
}

const modelKinds: Readonly<Record<string, ModelKind>> = {
  UNet2DConditionModel: { model: UNet2DConditionModel, stem: 'diffusion_pytorch_model' },
  AutoencoderKL: { model: AutoencoderKL, stem: 'diffusion_pytorch_model', convert: convertVaeKeys },
  CLIPTextModel: { model: CLIPTextModel, stem: 'model', convert: convertTextEncoderKeys },
  CLIPTextModelWithProjection: {
    model: CLIPTextModelWithProjection,
    stem: 'model',
    convert: convertTextEncoderKeys,
  },
};

/** Names only ever loaded when the user brings them. */
const leftOut = new Set(['safety_checker', 'feature_extractor', 'image_encoder']);

/** Reads one model: its config, then its weights. */
export async function loadModel(
  files: ModelFiles,
  folder: string,
  className: string,
  options: LoadOptions,
): Promise<AnyModule> {
  const kind = lookUp(modelKinds, className);
  if (!kind) {
    throw new FormatError(
      `${files.describe()}: '${folder}' is a ${shorten(className)}, known are ${Object.keys(modelKinds).join(', ')}`,
    );
  }
  const prefix = folder ? `${folder}/` : '';
  const config = await readJson(files, `${prefix}config.json`);
  const model = kind.model.fromConfig(config, `${files.describe()}/${prefix}config.json`);
  const paths = await weightFiles(files, folder, kind.stem, options.variant);
  const sources = await Promise.all(paths.map((path) => files.source(path)));
  await loadWeights(model, sources, {
    device: options.device,
    dtype: options.dtype,
    toHost: options.weights === 'host',
    ...(kind.convert && { convert: kind.convert }),
    onProgress: (loaded, total) => options.onLoad?.(folder, loaded, total),
  });
  return model;
}

/** The components of a pipeline folder by name, in model_index.json's spelling; `given` ones are taken as they are. */
export async function loadComponents(
  model: string | ModelFiles,
  options: LoadOptions,
  given: Readonly<Record<string, unknown>>,
  wanted: { readonly className: string; readonly names: readonly string[] },
): Promise<{ index: Config; components: Record<string, unknown>; files: ModelFiles }> {
  checkOptions('fromPretrained', options, loadOptionNames);
  if (!((options as LoadOptions | undefined)?.device instanceof Device))
    throw new ArgumentError(
      `fromPretrained: needs a device, as in { device: await cpu() }, got ${describe((options as LoadOptions | undefined)?.device)}`,
    );
  const { dtype } = options;
  if (dtype !== undefined && !(isDType(dtype) && isFloat(dtype))) {
    throw new ArgumentError(
      `fromPretrained: dtype must be float32, float16 or bfloat16, got '${String(dtype)}'`,
    );
  }
  const { weights = 'device' } = options;
  if (weights !== 'device' && weights !== 'host')
    throw new ArgumentError(`fromPretrained: weights must be 'device' or 'host', got '${String(weights)}'`);
  const isFiles = typeof model === 'object' && model !== null;
  const files = isFiles ? model : await openModel(model, options);
  const index = await readJson(files, 'model_index.json');
  for (const name of wanted.names) {
    const entry = index[name];
    const named = Array.isArray(entry) && typeof entry[1] === 'string';
    if (!named && given[name] === undefined)
      throw new FormatError(
        `${files.describe()}/model_index.json: names no '${name}', which a ${wanted.className} needs`,
      );
  }
  const components: Record<string, unknown> = {};
  const loadedHere: AnyModule[] = [];
  try {
    for (const [name, entry] of Object.entries(index)) {
      if (name.startsWith('_') || !Array.isArray(entry)) continue;
      if (Object.hasOwn(given, name)) {
        components[name] = given[name];
        continue;
      }
      const [library, className] = entry as unknown[];
      if (library === null || className === null || leftOut.has(name)) continue;
      if (typeof className !== 'string')
        throw new FormatError(`${files.describe()}/model_index.json: '${shorten(name)}' names no class`);
      if (!/^[A-Za-z0-9_.-]+$/.test(name) || name.includes('..')) {
        throw new FormatError(
          `${files.describe()}/model_index.json: component '${shorten(name)}' is not a plain folder name`,
        );
      }
      if (!wanted.names.includes(name)) {
        throw new FormatError(
          `${files.describe()}/model_index.json: a ${wanted.className} has no '${shorten(name)}'; the folder is of a ${namedClass(index)}`,
        );
      }
      components[name] = await loadComponent(files, name, className, options, loadedHere);
    }
    return { index, components, files };
  } catch (error) {
    for (const model of loadedHere) model.dispose();
    throw error;
  }
}

function namedClass({ _class_name: name }: Config): string {
  return typeof name === 'string' ? shorten(name) : describeJson(name);
}

async function loadComponent(
  files: ModelFiles,
  name: string,
  className: string,
  options: LoadOptions,
  loadedHere: AnyModule[],
): Promise<AnyModule | ClipTokenizer | Scheduler> {
  if (/^CLIPTokenizer/.test(className)) return clipTokenizerFromFiles(files, name);
  if (/Scheduler$/.test(className)) {
    const config = await readJson(files, `${name}/scheduler_config.json`);
    return schedulerFromConfig(
      { ...config, _class_name: className },
      `${files.describe()}/${name}/scheduler_config.json`,
    );
  }
  const model = await loadModel(files, name, className, options);
  loadedHere.push(model);
  return model;
}
