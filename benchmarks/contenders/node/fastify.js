'use strict'
// Fastify 5 with @fastify/jwt and pg: named statements, and schemas for bodies and answers as its documentation
// recommends (they compile to validators and serializers). NODE_ENV=production, one process, logging off (its default).

const { activeUser, post, newestPosts, addPost, replacePost } = require('./queries')

const app = require('fastify')()
app.register(require('@fastify/jwt'), { secret: process.env.SECRET_KEY, verify: { algorithms: ['HS256'] } })
app.decorateRequest('account', null)

const integer = { type: 'integer' }
const string = { type: 'string' }
const boolean = { type: 'boolean' }
const time = { type: 'string', format: 'date-time' }
const object = (properties) => ({ type: 'object', properties })

const User = object({ id: integer, email: string, name: string, is_active: boolean, created_at: time })
const Post = object({
  id: integer,
  title: string,
  content: string,
  published: boolean,
  created_at: time,
  owner_id: integer,
  owner: object({ id: integer, name: string })
})
const PostDraft = {
  ...object({ title: string, content: string, published: { ...boolean, default: true } }),
  required: ['title', 'content']
}
const Page = object({ limit: { ...integer, minimum: 1, maximum: 100, default: 20 } })

async function authenticate (request, reply) {
  try {
    await request.jwtVerify()
  } catch {
    return refuse(reply)
  }
  request.account = await activeUser(request.user.sub)
  if (!request.account) return refuse(reply)
}

function refuse (reply) {
  return reply.code(401).header('WWW-Authenticate', 'Bearer').send({ detail: 'Could not validate credentials' })
}

app.get('/users/me', { onRequest: authenticate, schema: { response: { 200: User } } },
  async (request) => request.account)

app.get('/posts', {
  onRequest: authenticate,
  schema: { querystring: Page, response: { 200: { type: 'array', items: Post } } }
}, async (request) => newestPosts(request.query.limit))

app.get('/posts/:id', {
  onRequest: authenticate,
  schema: { params: object({ id: integer }), response: { 200: Post } }
}, async (request, reply) => {
  const found = await post(request.params.id)
  if (found) return found
  return reply.code(404).send({ detail: `Post with id: ${request.params.id} was not found` })
})

app.post('/posts', { onRequest: authenticate, schema: { body: PostDraft, response: { 201: Post } } },
  async (request, reply) => {
    reply.code(201)
    return addPost(request.account, request.body)
  })

app.put('/posts/:id', {
  onRequest: authenticate,
  schema: { params: object({ id: integer }), body: PostDraft, response: { 200: Post } }
}, async (request, reply) => {
  const found = await post(request.params.id)
  if (!found) return reply.code(404).send({ detail: `Post with id: ${request.params.id} was not found` })
  if (found.owner_id !== request.account.id) return reply.code(403).send({ detail: 'Not the owner' })
  return replacePost(request.account, request.params.id, request.body)
})

app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
