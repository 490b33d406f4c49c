// Components that are models: a config.json, and weights in .safetensors files.

import { withLayers, writeSafetensors } from '@darkroom/core';
import type { AnyModule } from '@darkroom/core';
import type { ModelFiles } from '../loading/files.ts';
import { readJson, writePythonJson } from '../loading/json.ts';
import type { LoadOptions } from '../loading/load-options.ts';
import type { KeyConversion } from '../loading/key-conversion.ts';
import { loadWeights } from '../loading/load-weights.ts';
import { weightFiles } from '../loading/weights-files.ts';
import type { ConfigRecord } from '../models/config.ts';
import type { ComponentClass } from './component-class.ts';

/** A model with its config.json. */
export type ModelWithConfig = AnyModule & { readonly config: ConfigRecord };

/** The declaration of a class of models, from which modelClass() makes a registry entry. */
export interface ModelDeclaration<M extends ModelWithConfig> {
  readonly name: string;
  readonly library: 'diffusers' | 'transformers';
  /** The class, for `instanceof`. */
  readonly model: { readonly prototype: M };
  /** Reads the config. `source` names its file in messages. @throws FormatError */
  fromConfig(config: ConfigRecord, source: string): M;
  /** Converts keys of old or foreign weight files; default: none. */
  readonly convert?: KeyConversion;
}

/**
 * The registry entry of a class of models: config.json, and weights in `diffusion_pytorch_model` or (transformers)
 * `model` .safetensors files.
 */
export function modelClass<M extends ModelWithConfig>(declaration: ModelDeclaration<M>): ComponentClass<M> {
  const { name, library, model: Model, convert } = declaration;
  const stem = library === 'transformers' ? 'model' : 'diffusion_pytorch_model';
  return {
    names: [name],
    library,
    is: (component) => Model.prototype.isPrototypeOf(component),
    async load(files, folder, _, options) {
      const prefix = folder ? `${folder}/` : '';
      const config = await readJson(files, `${prefix}config.json`);
      const source = `${files.describe()}/${prefix}config.json`;
      const model = withLayers(options.layers ?? {}, () => declaration.fromConfig(config, source));
      await fill(model, files, folder, stem, options, convert);
      return model;
    },
    save: (model) => [
      { name: 'config.json', data: writePythonJson(model.config) },
      { name: `${stem}.safetensors`, data: writeSafetensors(model.stateDict()) },
    ],
  };
}

async function fill(
  model: AnyModule,
  files: ModelFiles,
  folder: string,
  stem: string,
  options: LoadOptions,
  convert: KeyConversion | undefined,
): Promise<void> {
  const paths = await weightFiles(files, folder, stem, options.variant);
  const sources = await Promise.all(paths.map((path) => files.source(path)));
  await loadWeights({ [folder]: model }, sources, {
    device: options.device,
    dtype: options.dtype,
    toHost: options.weights === 'host',
    ...(convert && { convert }),
    onProgress: (loaded, total) => options.onLoad?.(folder, loaded, total),
  });
}
