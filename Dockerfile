# Both stages are the same Debian release: better-sqlite3 is a native module, built or fetched for its C library.
FROM node:20-bookworm AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build && npm prune --omit=dev

FROM node:20-bookworm-slim
# The last one as in the Makefile: memory of freed buffers goes back.
ENV NODE_ENV=production STATE_DIR=/data HTTP_HOST=0.0.0.0 MALLOC_MMAP_THRESHOLD_=131072
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
RUN install -d -o node -g node /data
USER node
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# Without a shell in between, so that the signal arrives.
ENTRYPOINT ["node", "--max-semi-space-size=8", "dist/apps/purchase/cli.js"]
CMD ["run"]
