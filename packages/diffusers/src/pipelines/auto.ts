// The pipelines by class name, by family and by task; loading one without knowing which it is.
// Reference: diffusers' DiffusionPipeline and AutoPipelineFor….

import { ArgumentError, FormatError, shortJson } from '@darkroom/core';
import type { ModelSource } from '../loading/files.ts';
import { openModel } from '../loading/hub.ts';
import { readJson } from '../loading/json.ts';
import type { LoadOptions } from '../loading/load-options.ts';
import type { LatentDiffusionPipeline } from './latent-diffusion.ts';
import type { Pipeline, PipelineClass } from './pipeline.ts';
import { StableDiffusionImg2ImgPipeline } from './stable-diffusion-img2img.ts';
import { StableDiffusionInpaintPipeline } from './stable-diffusion-inpaint.ts';
import { StableDiffusionXLPipeline } from './stable-diffusion-xl.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';

/** A pipeline of any family. */
export type AnyPipeline = LatentDiffusionPipeline<object>;

/**
 * The class of a pipeline of any family. Components differ between classes: loading fills them by name, from `slots`.
 */
export type AnyPipelineClass = PipelineClass<AnyPipeline, never> & {
  fromPretrained(model: ModelSource, options: LoadOptions): Promise<AnyPipeline>;
  fromPipe(pipe: Pipeline): AnyPipeline;
};

/** The input that a pipeline starts from: a prompt, a picture, or a picture with a mask. */
export type Task = 'text-to-image' | 'image-to-image' | 'inpainting';

/** A pipeline of the registry. Pipelines of one family take each other's components. */
export interface PipelineEntry {
  readonly pipeline: AnyPipelineClass;
  readonly family: string;
  readonly task: Task;
}

// Typed loosely: constructors take the components of their own family.
const entry = (pipeline: { readonly className: string }, family: string, task: Task): PipelineEntry => ({
  pipeline: pipeline as AnyPipelineClass,
  family,
  task,
});

const builtIn: readonly PipelineEntry[] = [
  entry(StableDiffusionPipeline, 'stable-diffusion', 'text-to-image'),
  entry(StableDiffusionImg2ImgPipeline, 'stable-diffusion', 'image-to-image'),
  entry(StableDiffusionInpaintPipeline, 'stable-diffusion', 'inpainting'),
  entry(StableDiffusionXLPipeline, 'stable-diffusion-xl', 'text-to-image'),
];
const registered: PipelineEntry[] = [];

/** Every pipeline that DiffusionPipeline and the AutoPipelines find, the last registered first. */
export function pipelineEntries(): readonly PipelineEntry[] {
  return [...registered.toReversed(), ...builtIn];
}

/**
 * Registers a pipeline class under its `className`, a family and a task, for DiffusionPipeline and the AutoPipelines.
 */
export function registerPipeline(pipeline: { readonly className: string }, family: string, task: Task): void {
  registered.push(entry(pipeline, family, task));
}

/** The pipeline class of a model_index.json's `_class_name`; undefined for an unknown name. */
export function pipelineNamed(className: unknown): AnyPipelineClass | undefined {
  return pipelineEntries().find(({ pipeline }) => pipeline.className === className)?.pipeline;
}

/** The class for a task in the family of `pipe`; undefined where the family has none. */
export function pipelineForTask(pipe: Pipeline, task: Task): AnyPipelineClass | undefined {
  const entries = pipelineEntries();
  const own = entries.find(({ pipeline }) => pipeline.className === pipe.className);
  return entries.find((one) => own && one.family === own.family && one.task === task)?.pipeline;
}

/** Loads a model as the pipeline that its model_index.json names in _class_name. */
export const DiffusionPipeline: {
  fromPretrained(model: ModelSource, options: LoadOptions): Promise<AnyPipeline>;
} = {
  /**
   * The pipeline of a folder, a hub id or other files. `options` has no `components`: only a class's fromPretrained
   * takes them.
   * @throws FormatError that lists the known classes if `_class_name` is none of them.
   */
  async fromPretrained(model: ModelSource, options: LoadOptions): Promise<AnyPipeline> {
    const files = await openModel(model, options);
    const { _class_name: name } = await readJson(files, 'model_index.json');
    const known = pipelineNamed(name);
    if (!known) {
      const names = pipelineEntries().map(({ pipeline }) => pipeline.className);
      throw new FormatError(
        `${files.describe()}/model_index.json: _class_name is ${shortJson(name)}, known are ${names.join(', ')}`,
      );
    }
    return known.fromPretrained(files, options);
  },
};

/** Makes a pipeline for one task: loads a model of any family, or reuses the components of another pipeline. */
export interface AutoPipeline {
  /** The pipeline for this task of the model's family. @throws FormatError, ArgumentError when the family has none */
  fromPretrained(model: ModelSource, options: LoadOptions): Promise<AnyPipeline>;
  /** The pipeline for this task on the components of another: nothing is copied. @throws ArgumentError */
  fromPipe(pipe: Pipeline): AnyPipeline;
}

function autoPipeline(name: string, task: Task): AutoPipeline {
  const fromPipe = (pipe: Pipeline): AnyPipeline => {
    const found = pipelineForTask(pipe, task);
    if (!found)
      throw new ArgumentError(`${name}: there is no ${task} pipeline in the family of ${pipe.className}`);
    return pipe instanceof found ? pipe : found.fromPipe(pipe);
  };
  const fromPretrained: AutoPipeline['fromPretrained'] = async (model, options) => {
    const pipe = await DiffusionPipeline.fromPretrained(model, options);
    try {
      return fromPipe(pipe);
    } catch (error) {
      pipe.dispose();
      throw error;
    }
  };
  return { fromPretrained, fromPipe };
}

/** Text to image with a model of any family. Reference: diffusers' class of the same name. */
export const AutoPipelineForText2Image: AutoPipeline = autoPipeline(
  'AutoPipelineForText2Image',
  'text-to-image',
);
/** Image to image with a model of any family. Reference: diffusers' class of the same name. */
export const AutoPipelineForImage2Image: AutoPipeline = autoPipeline(
  'AutoPipelineForImage2Image',
  'image-to-image',
);
/** Inpainting with a model of any family. Reference: diffusers' class of the same name. */
export const AutoPipelineForInpainting: AutoPipeline = autoPipeline(
  'AutoPipelineForInpainting',
  'inpainting',
);
