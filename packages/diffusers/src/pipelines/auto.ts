// The pipelines by class name, and loading one without knowing which it is. Reference: diffusers' DiffusionPipeline.

import { FormatError, shortJson } from '@darkroom/core';
import type { ModelFiles } from '../loading/files.ts';
import { openModel } from '../loading/hub.ts';
import { readJson } from '../loading/json.ts';
import type { LoadOptions } from './from-pretrained.ts';
import type { PipelineClass } from './pipeline.ts';
import { StableDiffusionImg2ImgPipeline } from './stable-diffusion-img2img.ts';
import { StableDiffusionInpaintPipeline } from './stable-diffusion-inpaint.ts';
import { StableDiffusionXLPipeline } from './stable-diffusion-xl.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';

export type AnyPipeline =
  | StableDiffusionPipeline
  | StableDiffusionImg2ImgPipeline
  | StableDiffusionInpaintPipeline
  | StableDiffusionXLPipeline;

/** Components differ between classes: loading and cases fill them by name, from `folders`. */
type AnyPipelineClass = PipelineClass<AnyPipeline, never> & {
  fromPretrained(model: ModelFiles, options: LoadOptions): Promise<AnyPipeline>;
};

export const pipelineClasses: Readonly<Record<string, AnyPipelineClass>> = Object.fromEntries(
  [
    StableDiffusionPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLPipeline,
  ].map((Class) => [Class.className, Class as unknown as AnyPipelineClass]),
);

/** Loads a model as the pipeline that its model_index.json names in _class_name. */
export const DiffusionPipeline: {
  fromPretrained(model: string | ModelFiles, options: LoadOptions): Promise<AnyPipeline>;
} = {
  /**
   * Options as those of the classes. Components to take as they are go to a class's own fromPretrained.
   * @throws FormatError that lists the known classes when the model is of another.
   */
  async fromPretrained(model: string | ModelFiles, options: LoadOptions): Promise<AnyPipeline> {
    const files = typeof model === 'string' ? await openModel(model, options) : model;
    const { _class_name: name } = await readJson(files, 'model_index.json');
    const known = typeof name === 'string' && Object.hasOwn(pipelineClasses, name);
    if (!known) {
      throw new FormatError(
        `${files.describe()}/model_index.json: _class_name is ${shortJson(name)}, known are ${Object.keys(pipelineClasses).join(', ')}`,
      );
    }
    return pipelineClasses[name]!.fromPretrained(files, options);
  },
};
