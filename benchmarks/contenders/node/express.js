'use strict'
// Express 5 with jsonwebtoken and pg, tuned: the secret is a KeyObject (a string would be turned into one on every
// request), statements are named, the ETag and X-Powered-By headers are off. NODE_ENV=production, one process.

const { createSecretKey } = require('node:crypto')
const express = require('express')
const jwt = require('jsonwebtoken')
const { activeUser, post, newestPosts, addPost, replacePost } = require('./queries')

const key = createSecretKey(Buffer.from(process.env.SECRET_KEY))
const app = express()
app.disable('x-powered-by')
app.disable('etag')

function refuse (res) {
  res.status(401).set('WWW-Authenticate', 'Bearer').json({ detail: 'Could not validate credentials' })
}

async function authenticate (req, res, next) {
  const [scheme, token] = (req.headers.authorization || '').split(' ')
  if (scheme.toLowerCase() !== 'bearer' || !token) return refuse(res)
  let claims
  try {
    claims = jwt.verify(token, key, { algorithms: ['HS256'] })
  } catch {
    return refuse(res)
  }
  req.user = await activeUser(claims.sub)
  if (!req.user) return refuse(res)
  next()
}

app.get('/users/me', authenticate, (req, res) => {
  res.json(req.user)
})

app.get('/posts', authenticate, async (req, res) => {
  const limit = Number(req.query.limit || 20)
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= 100)) return res.status(422).json({ detail: 'limit' })
  res.json(await newestPosts(limit))
})

app.get('/posts/:id', authenticate, async (req, res) => {
  const id = Number(req.params.id)
  const found = Number.isSafeInteger(id) && await post(id)
  if (!found) return res.status(404).json({ detail: `Post with id: ${req.params.id} was not found` })
  res.json(found)
})

app.post('/posts', authenticate, express.json(), async (req, res) => {
  const { title, content } = req.body || {}
  if (typeof title !== 'string' || typeof content !== 'string') return res.status(422).json({ detail: 'body' })
  res.status(201).json(await addPost(req.user, req.body))
})

app.put('/posts/:id', authenticate, express.json(), async (req, res) => {
  const id = Number(req.params.id)
  const { title, content } = req.body || {}
  if (typeof title !== 'string' || typeof content !== 'string') return res.status(422).json({ detail: 'body' })
  const found = Number.isSafeInteger(id) && await post(id)
  if (!found) return res.status(404).json({ detail: `Post with id: ${req.params.id} was not found` })
  if (found.owner_id !== req.user.id) return res.status(403).json({ detail: 'Not the owner' })
  res.json(await replacePost(req.user, id, req.body))
})

app.listen(Number(process.env.PORT), '127.0.0.1')
