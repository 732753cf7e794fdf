/** In the order of Kafka's codec numbers: a batch's attributes hold the index. */
export const COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"] as const;
export type Compression = (typeof COMPRESSIONS)[number];
