// @darkroom/diffusers: Stable Diffusion on Darkroom. Models, schedulers, pipelines, loading; no device code.

export { Image } from './image/image.ts';
export type { Channels } from './image/image.ts';
export { memoryFiles } from './loading/files.ts';
export type { ModelFiles } from './loading/files.ts';
export { httpFiles } from './loading/http-files.ts';
export { openModel } from './loading/hub.ts';
export type { HubOptions } from './loading/hub.ts';
export { fusedAttention, plainAttention, slicedAttention } from './models/attention-strategies.ts';
export type { AttentionStrategy, SlicedAttention } from './models/attention-strategies.ts';
export type { AttentionSlice } from './models/model-with-attention.ts';
export { ConditioningKey } from './models/conditioning.ts';
export type { AdapterInput, AddedCond, Conditioning } from './models/conditioning.ts';
export { AutoencoderKL } from './models/autoencoder-kl.ts';
export type { VaeDistribution } from './models/autoencoder-kl.ts';
export { CLIPTextModel, CLIPTextModelWithProjection } from './models/clip-text.ts';
export type { TextModelOptions, TextModelOutput } from './models/clip-text.ts';
export { timestepEmbedding } from './models/embeddings.ts';
export type { OwnUNet } from './pipelines/own-unet.ts';
export type { TextEncoderLike, UNetLike, VaeLike } from './models/types.ts';
export type { TilingOptions } from './models/vae-tiling.ts';
export { UNet2DConditionModel } from './models/unet2d-condition.ts';
export type { UNetOutput } from './models/unet2d-condition.ts';
export { memoryReport } from './offload/memory-report.ts';
export type { ComponentMemory, MemoryReport } from './offload/memory-report.ts';
export { ModelOffload } from './offload/model.ts';
export { SequentialOffload } from './offload/sequential.ts';
export type { SequentialOffloadOptions } from './offload/sequential.ts';
export { loadModel } from './pipelines/from-pretrained.ts';
export type { LoadOptions } from './pipelines/from-pretrained.ts';
export { guide, rescaleGuidance } from './pipelines/guidance.ts';
export type {
  CallOptions, LoopTensors, StableDiffusionOutput, StepCallback, StepTensors,
} from './pipelines/options.ts'; // prettier-ignore
export { Pipeline } from './pipelines/pipeline.ts';
export type { PipelineComponents, PipelineOptions } from './pipelines/pipeline.ts';
export { DiffusionPipeline, pipelineClasses } from './pipelines/auto.ts';
export type { AnyPipeline } from './pipelines/auto.ts';
export type { MicroConditions, Pair } from './pipelines/encode-prompts-xl.ts';
export type { ImageInput } from './image/preprocess.ts';
export { LatentDiffusionPipeline } from './pipelines/latent-diffusion.ts';
export { StableDiffusionImg2ImgPipeline } from './pipelines/stable-diffusion-img2img.ts';
export type { StableDiffusionImg2ImgOptions } from './pipelines/stable-diffusion-img2img.ts';
export { StableDiffusionInpaintPipeline } from './pipelines/stable-diffusion-inpaint.ts';
export type { InpaintTensors, StableDiffusionInpaintOptions } from './pipelines/stable-diffusion-inpaint.ts';
export { unetInputs } from './pipelines/unet-inputs.ts';
export type { UNetCall } from './pipelines/unet-inputs.ts';
export { StableDiffusionXLPipeline } from './pipelines/stable-diffusion-xl.ts';
export type {
  StableDiffusionXLComponents, StableDiffusionXLOptions, XLTensors,
} from './pipelines/stable-diffusion-xl.ts'; // prettier-ignore
export { StableDiffusionPipeline } from './pipelines/stable-diffusion.ts';
export type { StableDiffusionComponents, StableDiffusionOptions } from './pipelines/stable-diffusion.ts';
export type { ProgressBar, ProgressConfig } from './progress/progress.ts';
export type { Generator, RandomDType } from './random/generator.ts';
export { TorchCpuGenerator } from './random/torch-cpu-generator.ts';
export { TorchCudaGenerator } from './random/torch-cuda-generator.ts';
export { schedulerClasses, schedulerFromConfig } from './schedulers/from-config.ts';
export { Scheduler } from './schedulers/scheduler.ts';
export type { Schedule, ScheduleOptions, StepOptions, StepResult } from './schedulers/scheduler.ts';
export { ClipTokenizer, clipTokenizerFromFiles } from './tokenizers/clip.ts';
