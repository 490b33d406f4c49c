// The components that a pipeline declares: their folders, what they are to it, and which it can do without.

/** What a component is to its pipeline: switches of memory and traces go by it. */
export type ComponentRole = 'denoiser' | 'vae' | 'textEncoder' | 'tokenizer' | 'scheduler' | 'other';

export interface ComponentSlot {
  /** Its folder, and its name in model_index.json. */
  readonly folder: string;
  readonly role: ComponentRole;
  /** True: the pipeline works without it, and model_index.json may name [null, null] or nothing. */
  readonly optional?: boolean;
}

/** By name of the pipeline's property, in the order that they are saved. */
export type ComponentSlots<C = Record<string, unknown>> = {
  readonly [K in keyof C & string]-?: ComponentSlot;
};

/** Names in folders of others that no pipeline here loads by itself: users bring them where they want them. */
export const leftOut: ReadonlySet<string> = new Set(['safety_checker', 'feature_extractor', 'image_encoder']);
