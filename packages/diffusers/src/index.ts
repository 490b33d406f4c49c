// @darkroom/diffusers: Stable Diffusion on Darkroom. Models, schedulers, pipelines, loading; no device code.

export { Image } from './image/image.ts';
export type { Channels } from './image/image.ts';
export type { EncodeOptions, SaveOptions } from './image/encode.ts';
export { formatFor, pictureFormats } from './image/formats.ts';
export type { PictureFormat } from './image/formats.ts';
export type { PictureParameters } from './parameters/parameters.ts';
export { parametersText, parseParameters } from './parameters/text.ts';
export { memoryFiles } from './loading/files.ts';
export type { ModelAddresses, ModelFiles, ModelSource } from './loading/files.ts';
export { httpFiles } from './loading/http-files.ts';
export { readJson } from './loading/json.ts';
export { renaming, splitRows, transpose } from './loading/key-conversion.ts';
export type { KeyConversion, Placement } from './loading/key-conversion.ts';
export { isHubId, openModel } from './loading/hub.ts';
export type { HubOptions } from './loading/hub-options.ts';
export { cachedModels, clearCache } from './loading/page/page-cache.ts';
export type { CachedModel } from './loading/page/page-cache.ts';
export { mergeHeads, plainProcessor, splitHeads } from './models/attention-processor.ts';
export type { AttentionCall, AttentionLayer, AttentionProcessor } from './models/attention-processor.ts';
export { fusedAttention, plainAttention, slicedAttention } from './models/attention-strategies.ts';
export type { AttentionStrategy, SlicedAttention } from './models/attention-strategies.ts';
export { Attention } from './models/attention.ts';
export type { AttentionOptions } from './models/attention.ts';
export type { AttentionSlice } from './models/model-with-attention.ts';
export { ConditioningKey } from './models/conditioning.ts';
export type { AdapterInput, AddedCond, Conditioning } from './models/conditioning.ts';
export { AutoencoderKL } from './models/autoencoder-kl.ts';
export type { VaeDistribution } from './models/autoencoder-kl.ts';
export { CLIPTextModel, CLIPTextModelWithProjection } from './models/clip-text.ts';
export type { TextModelOptions, TextModelOutput, TokenTensors } from './models/clip-text.ts';
export { TimestepEmbedding, timestepEmbedding, timestepTensor } from './models/embeddings.ts';
export { ConfigReader } from './models/config.ts';
export type { ConfigRecord } from './models/config.ts';
export type { OwnUNet } from './pipelines/own-unet.ts';
export type { TextEncoderLike, UNetLike, VaeLike } from './models/types.ts';
export type { TilingOptions } from './models/vae-tiling.ts';
export { unetConfig } from './models/unet-config.ts';
export type { UNetConfig } from './models/unet-config.ts';
export { UNet2DConditionModel } from './models/unet2d-condition.ts';
export { vaeConfig } from './models/vae-config.ts';
export type { VaeConfig } from './models/vae-config.ts';
export type { UNetOutput } from './models/unet2d-condition.ts';
export { memoryReport } from './offload/memory-report.ts';
export type { ComponentMemory, MemoryReport } from './offload/memory-report.ts';
export { ModelOffload } from './offload/model.ts';
export { SequentialOffload } from './offload/sequential.ts';
export type { SequentialOffloadOptions } from './offload/sequential.ts';
export { loadModel } from './components/load.ts';
export { registerComponent } from './components/registry.ts';
export type { ComponentClass, ComponentFile } from './components/component-class.ts';
export { modelClass } from './components/model-class.ts';
export type { ModelDeclaration, ModelWithConfig } from './components/model-class.ts';
export type { ComponentRole, ComponentSlot, ComponentSlots } from './components/slots.ts';
export type { LoadOptions } from './loading/load-options.ts';
export { guide, rescaleGuidance } from './pipelines/guidance.ts';
export type {
  CallOptions, Interruptible, LoopTensors, StableDiffusionOutput, StepCallback, StepTensors,
} from './pipelines/options.ts'; // prettier-ignore
export { callOptionNames } from './pipelines/options.ts';
export { Pipeline } from './pipelines/pipeline.ts';
export type { PipelineClass, PipelineOptions } from './pipelines/pipeline.ts';
export {
  AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image, DiffusionPipeline,
  pipelineEntries, pipelineForTask, pipelineNamed, registerPipeline,
} from './pipelines/auto.ts'; // prettier-ignore
export type {
  AnyPipeline, AnyPipelineClass, AutoPipeline, PipelineEntry, Task,
} from './pipelines/auto.ts'; // prettier-ignore
export { checkCall, withSize } from './pipelines/check-call.ts';
export type { CallRules, CallWithoutSize, CheckedCall, Texts } from './pipelines/check-call.ts';
export { batchEmbeddings, blanks, tokenIds } from './pipelines/conditioners/batch.ts';
export type { Target } from './pipelines/conditioners/batch.ts';
export type { EncodeTexts, TextEncoding, TextPick, TextWork } from './pipelines/conditioners/encode-texts.ts';
export { clipConditioner } from './pipelines/conditioners/clip.ts';
export { clipXLConditioner } from './pipelines/conditioners/clip-xl.ts';
export type { MicroConditions, Pair, XLConditions } from './pipelines/conditioners/clip-xl.ts';
export type {
  Conditioner, Denoiser, DenoiserModule, DenoiserStep, LatentCodec, LatentStart, NamedTensors, PixelSize, Recipe,
  StartOfRun, Window,
} from './pipelines/recipe.ts'; // prettier-ignore
export { imageToImage } from './pipelines/starts/image-to-image.ts';
export { inpainting } from './pipelines/starts/inpainting.ts';
export { textToImage } from './pipelines/starts/text-to-image.ts';
export { unetDenoiser } from './pipelines/unet-denoiser.ts';
export { UNetPipeline, unetSlots } from './pipelines/unet-pipeline.ts';
export type { PipelineComponents } from './pipelines/unet-pipeline.ts';
export { packLatents, unpackLatents, VaeCodec } from './pipelines/vae-codec.ts';
export type { VaeCodecOptions } from './pipelines/vae-codec.ts';
export type { ImageInput } from './image/preprocess.ts';
export { LatentDiffusionPipeline } from './pipelines/latent-diffusion.ts';
export type { DrawArguments, Draws } from './pipelines/latent-diffusion.ts';
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
export { schedulerAliases, schedulerName } from './schedulers/aliases.ts';
export type { SchedulerAlias } from './schedulers/aliases.ts';
export { schedulerClasses, schedulerFromConfig } from './schedulers/from-config.ts';
export { Scheduler } from './schedulers/scheduler.ts';
export type { Schedule, ScheduleOptions, StepOptions, StepResult } from './schedulers/scheduler.ts';
export { ClipTokenizer, clipTokenizerFromFiles } from './tokenizers/clip.ts';
export { version } from './version.ts';
